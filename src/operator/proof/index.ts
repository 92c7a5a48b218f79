import { Counter, Gauge } from 'prom-client';
import { CAPTURED_CONDITION } from '../../cluster/capture-proof.ts';
import { pods } from '../../cluster/resources.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import { OwnedStack } from '../../platform/owned.ts';
import { INJECTED_LABEL } from '../injection/index.ts';
import type { LeaderContext, LeaderTask } from '../leader-task.ts';
import { OPERATOR_NAME } from '../names.ts';
import { recordEvent } from '../record-event.ts';
import { askFromHere } from './ask.ts';
import { ProofPlan, type Candidate } from './plan.ts';
import { provePod, type ProofResult } from './prove-pod.ts';

/** So many pods are proved at a time. */
const CONCURRENCY = 8;

/**
 * Proves of every injected pod that what comes from outside arrives at its kpeering, and tells that in a condition of the pod. Whatever comes
 * of it, the pod is left alone: it starts, and is Ready, as it would be without.
 */
export const captureProofs: LeaderTask = { name: 'capture-proofs', start };

async function start(context: LeaderContext): Promise<Closeable> {
  const prover = new Prover(context);
  try {
    await prover.begin();
  } catch (error) {
    await prover.close();
    throw error;
  }
  return prover;
}

class Prover implements Closeable {
  readonly #context: LeaderContext;
  readonly #plan = new ProofPlan();
  readonly #owned = new OwnedStack();
  readonly #ending = new AbortController();
  readonly #proving = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #proofs: Counter<'outcome'> | undefined;

  constructor(context: LeaderContext) {
    this.#context = context;
  }

  async begin(): Promise<void> {
    const { cluster, metrics } = this.#context;
    const watch = this.#owned.use(cluster.watch(pods, { labelSelector: `${INJECTED_LABEL}=true` }));
    await watch.synced;
    this.#proofs = new Counter({
      name: 'kpeering_capture_proofs_total',
      help: 'Proofs that the capture of a pod works, by outcome',
      labelNames: ['outcome'],
      registers: [metrics],
    });
    for (const outcome of Object.values(outcomes)) this.#proofs.inc({ outcome }, 0);
    const plan = this.#plan;
    const standing = new Gauge({
      name: 'kpeering_capture_pods',
      help: 'Injected pods with a running sidecar, by what is known of their capture',
      labelNames: ['state'],
      registers: [],
      collect() {
        for (const [state, count] of Object.entries(plan.standing)) this.set({ state }, count);
      },
    });
    metrics.registerMetric(standing);
    for (const pod of watch.items.values()) plan.observe(pod, performance.now(), Date.now());
    watch.onChange((event) => {
      if (event.type === 'deleted') plan.forget(event.object.metadata.uid);
      else plan.observe(event.object, performance.now(), Date.now());
      this.#schedule();
    });
    this.#schedule();
  }

  /** Does not wait for the API server, nor for a pod. */
  async close(): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#timer);
    await this.#owned.close();
    await Promise.all(this.#proving);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#ending.signal.aborted) return;
    while (this.#proving.size < CONCURRENCY) {
      const candidate = this.#plan.take(performance.now());
      if (candidate === undefined) break;
      const proving: Promise<void> = this.#prove(candidate).finally(() => {
        this.#proving.delete(proving);
        this.#schedule();
      });
      this.#proving.add(proving);
    }
    const due = this.#plan.nextDue;
    if (due === undefined || this.#proving.size >= CONCURRENCY) return;
    this.#timer = setTimeout(() => this.#schedule(), Math.max(10, due - performance.now()));
  }

  /** Never rejects. */
  async #prove(candidate: Candidate): Promise<void> {
    const { signal } = this.#ending;
    try {
      const result = await provePod(candidate.addresses, askFromHere, signal);
      this.#proofs?.inc({ outcome: outcomes[result.status] });
      if (this.#plan.proved(candidate, result, performance.now())) {
        await this.#tell(candidate, result);
        this.#plan.told(candidate);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#plan.untold(candidate, performance.now());
      const { namespace, name } = candidate;
      this.#context.log.warn({ namespace, pod: name, err: messageOf(error) }, 'the proof of a pod could not be told');
    }
  }

  async #tell({ uid, namespace, name, sidecarStart }: Candidate, { status, reason, message }: ProofResult): Promise<void> {
    const { cluster, log } = this.#context;
    const { signal } = this.#ending;
    // Not before the sidecar's start, by whichever clock that was told: it would be taken for the proof of an earlier run.
    const at = new Date(Math.max(Date.now(), Date.parse(sidecarStart)));
    const lastProbeTime = at.toISOString().replace(/\.\d+Z$/, 'Z');
    try {
      const present = await cluster.get(pods, name, { namespace, signal });
      const before = present.status.conditions.find(({ type }) => type === CAPTURED_CONDITION)?.status;
      const condition = {
        type: CAPTURED_CONDITION,
        status,
        reason,
        message,
        lastProbeTime,
        ...(before !== status && { lastTransitionTime: lastProbeTime }),
      };
      const object = { metadata: { uid }, status: { conditions: [condition] } };
      const options = { namespace, subresource: 'status', fieldManager: OPERATOR_NAME, signal };
      await cluster.patch(pods, name, { kind: 'strategic', object }, options);
      if (before === status) return;
    } catch (error) {
      // It has ended, or another one has its name.
      if (error instanceof Failure && ['NOT_FOUND', 'API_CONFLICT', 'API_INVALID'].includes(error.code)) return;
      throw error;
    }
    const fields = { namespace, pod: name, reason, message };
    if (status === 'True') return log.debug(fields, 'the capture of a pod is proved');
    log.warn(fields, status === 'False' ? 'the capture of a pod does not work' : 'the capture of a pod could not be proved');
    if (status === 'Unknown') return;
    const about = { apiVersion: 'v1', kind: 'Pod', namespace, name, uid };
    await recordEvent(cluster, { about, type: 'Warning', reason: 'CaptureNotProved', message }, log, { signal });
  }
}

const outcomes = { True: 'proved', False: 'not_captured', Unknown: 'unknown' } as const;
