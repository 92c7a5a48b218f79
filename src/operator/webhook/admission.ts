import { Failure } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { decideInjection, type Injection, type InjectionSettings, type PodNamespace } from '../injection/index.ts';
import { controllerAmong, type LeftAlonePod } from '../left-alone.ts';
import type { Outcome } from '../metrics.ts';
import { allow, identityOf, readReview, type AdmissionRequest } from './review.ts';

/** Longer ones may be cut by the API server (admission.k8s.io/v1, AdmissionResponse.warnings). */
const WARNING_LENGTH = 250;

export interface AdmissionOptions {
  readonly settings: InjectionSettings;
  readonly namespaces: {
    find(name: string): Promise<PodNamespace>;
    ask(name: string): Promise<PodNamespace>;
  };
  /** Hears of pods that are left alone; not of a dry run's. */
  readonly report: (pod: LeftAlonePod) => void;
  readonly count: { answered(outcome: Outcome, seconds: number): void; leftAlone(code: string): void };
  readonly log: Logger;
}

export interface AdmissionAnswer {
  readonly status: 200 | 400;
  readonly body: string;
}

/** The webhook's answers. Whatever goes wrong, the pod is allowed. */
export class Admission {
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Answers one AdmissionReview. Never rejects; 400 for what has no uid to answer to, which the API server ignores (failurePolicy). */
  async answer(text: string): Promise<AdmissionAnswer> {
    const began = performance.now();
    const { log, count } = this.#options;
    const review = readReview(text);
    const [outcome, answer] = review.kind === 'request' ? await this.#decided(review.request) : this.#unreadable(review);
    count.answered(outcome, (performance.now() - began) / 1000);
    log.debug({ outcome }, 'an admission was answered');
    return answer;
  }

  #unreadable({ uid, reason }: { readonly uid: string | undefined; readonly reason: string }): [Outcome, AdmissionAnswer] {
    this.#options.log.warn({ reason }, 'a request to the webhook is no AdmissionReview that we understand');
    if (uid !== undefined) return ['unreadable', { status: 200, body: allow(uid) }];
    return ['unreadable', { status: 400, body: `no AdmissionReview: ${reason}\n` }];
  }

  async #decided(request: AdmissionRequest): Promise<[Outcome, AdmissionAnswer]> {
    const { uid } = request;
    try {
      const injection = await this.#decide(request);
      if (injection.kind !== 'left-alone') {
        return [injection.kind, { status: 200, body: allow(uid, injection.kind === 'injected' ? injection.patch : []) }];
      }
      this.#leftAlone(request, injection.reason);
      const warning = `kpeering: not injected: ${injection.reason.message}`.slice(0, WARNING_LENGTH);
      return ['left-alone', { status: 200, body: allow(uid, injection.patch, [warning]) }];
    } catch (error) {
      const cause = error instanceof Failure ? { reason: error.format() } : { err: error };
      this.#options.log.error({ ...cause, ...describe(request) }, 'a pod is let through as it is');
      return ['failed', { status: 200, body: allow(uid) }];
    }
  }

  async #decide({ object: pod, namespace: name, operation, kind, subResource }: AdmissionRequest): Promise<Injection> {
    // What an installation of another version, or somebody by hand, may have the API server ask.
    if (operation !== 'CREATE' || kind.group !== '' || kind.kind !== 'Pod' || subResource !== undefined || name === undefined) {
      return { kind: 'not-requested' };
    }
    const { settings, namespaces } = this.#options;
    const decided = decideInjection({ pod, namespace: await namespaces.find(name), settings });
    if (decided.kind !== 'not-requested') return decided;
    // The API server asks about pods only that a label asks for: its namespace may have got that a moment ago.
    return decideInjection({ pod, namespace: await namespaces.ask(name), settings });
  }

  #leftAlone(request: AdmissionRequest, reason: Failure): void {
    const { log, count, report } = this.#options;
    count.leftAlone(reason.code);
    log.info({ ...describe(request), reason: reason.format() }, 'a pod is left alone');
    if (request.dryRun === true || request.namespace === undefined) return;
    const { name, ownerReferences } = identityOf(request.object);
    report({ namespace: request.namespace, name, controller: controllerAmong(ownerReferences), reason });
  }
}

function describe({ namespace, object }: AdmissionRequest): object {
  const { name, generateName } = identityOf(object);
  return { namespace, pod: name ?? generateName };
}
