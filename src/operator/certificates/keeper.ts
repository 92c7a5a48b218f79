import { setTimeout as sleep } from 'node:timers/promises';
import { secrets } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { CERTIFICATE_SECRET, OPERATOR_NAME, PART_OF_LABELS } from '../names.ts';
import {
  authorityBundle,
  readServing,
  ROTATE_ANNOTATION,
  writeContents,
  type CertificateContents,
  type ServingCertificate,
} from './contents.ts';
import { issueCertificate } from './issue.ts';
import { CLOCK_SKEW_MILLISECONDS, nextStep, rotationTimes, type RotationStep, type RotationTimes } from './rotation.ts';
import { servedByAll } from './served.ts';
import type { CertificateStore } from './store.ts';
import { CallerTrust } from './trust.ts';

const FIRST_PAUSE_MILLISECONDS = 500;
const LAST_PAUSE_MILLISECONDS = 30_000;
/** What was written comes back by the watch within milliseconds, and wakes us; else it is looked at again after this. */
const ECHO_MILLISECONDS = 2_000;

export interface KeeperOptions {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly store: CertificateStore;
  /** Where each replica's webhook listens. */
  readonly port: number;
  /** Of the Secret when it is made: our Deployment. */
  readonly ownerReferences: readonly object[];
  readonly log: Logger;
  readonly times?: RotationTimes;
}

/**
 * The leader's work on the webhook's certificate: makes it, rotates it step by step (rotation.ts), keeps the API servers' trust as it must be, and
 * puts back what somebody has deleted. Writes are refused when the Secret has changed meanwhile, so that a leader that has not noticed yet that it
 * is none does no harm.
 */
export class CertificateKeeper implements Closeable {
  readonly #options: KeeperOptions;
  readonly #trust: CallerTrust;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #wake: () => void = () => {};
  #trusted: { readonly bundle: string; readonly since: number } | undefined;
  #served: { readonly certificate: string; readonly since: number } | undefined;

  private constructor(options: KeeperOptions, trust: CallerTrust) {
    this.#options = options;
    this.#trust = trust;
    const unsubscribe = [options.store.onChange(() => this.#wake()), trust.onChange(() => this.#wake())];
    this.#ended = this.#run().finally(() => unsubscribe.forEach((each) => each()));
  }

  /** Failures: those of a list. */
  static async start(options: KeeperOptions): Promise<CertificateKeeper> {
    const trust = await CallerTrust.open(options.cluster, options.log);
    return new CertificateKeeper(options, trust);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#ended;
    await this.#trust.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let failures = 0;
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      let pause: number;
      try {
        pause = await this.#reconcile();
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        pause = Math.min(LAST_PAUSE_MILLISECONDS, FIRST_PAUSE_MILLISECONDS * 2 ** failures++);
        const cause = error instanceof Failure ? { reason: error.format() } : { err: error };
        this.#options.log.warn({ ...cause, pause }, "the webhook's certificate is seen to again");
        await sleep(pause, undefined, { signal }).catch(() => {});
        continue;
      }
      const slept = new AbortController();
      await Promise.race([woken, sleep(pause, undefined, { signal: AbortSignal.any([signal, slept.signal]) }).catch(() => {})]);
      slept.abort();
    }
  }

  /** One look, and at most one step. Answers after how many milliseconds to look again. */
  async #reconcile(): Promise<number> {
    const { store, log, times = rotationTimes } = this.#options;
    const contents = this.#intact();
    const now = Date.now();
    const bundle = authorityBundle(contents);
    if (store.contents.current !== undefined) await this.#trust.set(bundle, this.#closing.signal);
    if (!this.#trust.has(bundle)) this.#trusted = undefined;
    else if (this.#trusted?.bundle !== bundle) this.#trusted = { bundle, since: now };
    if (contents.current !== undefined && store.contents.current === undefined) {
      log.warn('the Secret of the certificate is gone or broken: it is put back');
      return await this.#write(contents);
    }
    const step = nextStep(
      {
        contents,
        requested: store.secret?.metadata.annotations[ROTATE_ANNOTATION] !== undefined,
        trustedSince: this.#trusted?.since,
        servedSince: contents.previous === undefined ? undefined : await this.#servedSince(contents.current),
        now,
      },
      times,
    );
    if (step.kind === 'wait') return step.milliseconds;
    log.info({ step: step.kind }, "the webhook's certificate: one step");
    return await this.#write(await this.#after(step, contents));
  }

  /** As the Secret has it; the current certificate as we know it where the Secret has lost it. */
  #intact(): CertificateContents {
    const { contents, serving } = this.#options.store;
    if (contents.current !== undefined || serving === undefined || serving.notAfter <= Date.now()) return contents;
    return { ...contents, current: serving };
  }

  async #after(
    step: Exclude<RotationStep, { kind: 'wait' }>,
    { current, next, previous }: CertificateContents,
  ): Promise<CertificateContents> {
    const old = current === undefined ? previous : { authority: current.authority, notAfter: current.notAfter };
    switch (step.kind) {
      case 'issue':
        return { current: await this.#issue(), next: undefined, previous: old };
      case 'announce':
        return { current, next: await this.#issue(), previous };
      case 'serve':
        return { current: next, next: undefined, previous: old };
      case 'retire':
        return { current, next: undefined, previous: undefined };
    }
  }

  async #issue(): Promise<ServingCertificate> {
    const { store, times = rotationTimes } = this.#options;
    const now = Date.now();
    const issued = await issueCertificate({
      names: [store.host],
      notBefore: new Date(now - CLOCK_SKEW_MILLISECONDS),
      notAfter: new Date(now + times.lifetimeMilliseconds),
    });
    const serving = readServing(issued, store.host);
    if (serving === undefined) throw new Error('a certificate that was just issued cannot be served');
    return serving;
  }

  async #write(contents: CertificateContents): Promise<number> {
    const { cluster, namespace, store, ownerReferences } = this.#options;
    const options = { namespace, fieldManager: OPERATOR_NAME, signal: this.#closing.signal };
    const data = writeContents(contents);
    const { secret } = store;
    if (secret === undefined) {
      const metadata = { name: CERTIFICATE_SECRET, namespace, labels: PART_OF_LABELS, ownerReferences };
      const present = Object.fromEntries(Object.entries(data).filter(([, value]) => value !== null));
      await cluster.create(secrets, { apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata, data: present }, options);
    } else {
      const { resourceVersion } = secret.metadata;
      const annotations = contents.next === undefined ? {} : { annotations: { [ROTATE_ANNOTATION]: null } };
      await cluster.patch(
        secrets,
        CERTIFICATE_SECRET,
        { kind: 'merge', object: { metadata: { resourceVersion, ...annotations }, data } },
        options,
      );
    }
    return ECHO_MILLISECONDS;
  }

  async #servedSince(current: ServingCertificate | undefined): Promise<number | undefined> {
    const { cluster, namespace, port, store, log } = this.#options;
    if (current === undefined) return undefined;
    const { certificate } = current;
    try {
      const served = await servedByAll(cluster, { namespace, port, host: store.host, certificate: current, signal: this.#closing.signal });
      if (!served) this.#served = undefined;
      else if (this.#served?.certificate !== certificate) this.#served = { certificate, since: Date.now() };
    } catch (error) {
      this.#served = undefined;
      log.debug({ reason: messageOf(error) }, 'which certificate the replicas serve is not known');
    }
    return this.#served?.since;
  }
}
