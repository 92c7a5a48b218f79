import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** How an admission request was answered. */
export type Outcome =
  | 'injected'
  /** Injected by an earlier call for the same pod. */
  | 'unchanged'
  | 'not-requested'
  | 'left-alone'
  /** Allowed as it was, because of a failure or a bug of ours. */
  | 'failed'
  /** Not an AdmissionReview. */
  | 'unreadable';

const outcomes: readonly Outcome[] = ['injected', 'unchanged', 'not-requested', 'left-alone', 'failed', 'unreadable'];

/** What every replica of the operator tells in `/metrics`; docs/metrics.md has the list. */
export class OperatorMetrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: 'kpeering_webhook_requests_total',
    help: 'Admission requests answered, by outcome',
    labelNames: ['outcome'],
    registers: [this.#registry],
  });
  readonly #duration = new Histogram({
    name: 'kpeering_webhook_duration_seconds',
    help: 'Time from the last byte of an admission request to its answer',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [this.#registry],
  });
  readonly #leftAlone = new Counter({
    name: 'kpeering_webhook_left_alone_total',
    help: 'Pods that were to be injected and were left as they were, by the code of the reason',
    labelNames: ['code'],
    registers: [this.#registry],
  });
  readonly #handshakes = new Counter({
    name: 'kpeering_webhook_handshake_failures_total',
    help: 'TLS handshakes with the webhook that failed, as they do where a caller does not trust its certificate',
    registers: [this.#registry],
  });
  readonly #expiry = new Gauge({
    name: 'kpeering_webhook_certificate_expiry_timestamp_seconds',
    help: 'When the certificate that this replica serves ends, in seconds since 1970',
    registers: [this.#registry],
  });
  readonly #leader = new Gauge({
    name: 'kpeering_operator_leader',
    help: 'Whether this replica leads (1) or not (0)',
    registers: [this.#registry],
  });
  #term: Registry | undefined;

  constructor() {
    for (const outcome of outcomes) this.#requests.inc({ outcome }, 0);
  }

  answered(outcome: Outcome, seconds: number): void {
    this.#requests.inc({ outcome });
    this.#duration.observe(seconds);
  }

  leftAlone(code: string): void {
    this.#leftAlone.inc({ code });
  }

  handshakeFailed(): void {
    this.#handshakes.inc();
  }

  /** `notAfter`: milliseconds since 1970. */
  serving(notAfter: number): void {
    this.#expiry.set(notAfter / 1000);
  }

  /** A term as leader begins: what is registered in the answer is told until {@link termEnded}. */
  termBegan(): Registry {
    this.#leader.set(1);
    return (this.#term = new Registry());
  }

  termEnded(): void {
    this.#leader.set(0);
    this.#term = undefined;
  }

  /** Prometheus' text format. */
  async text(): Promise<string> {
    const texts = [await this.#registry.metrics(), (await this.#term?.metrics()) ?? ''];
    return texts.filter((text) => text.trim() !== '').join('');
  }
}
