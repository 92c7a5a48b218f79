import { secrets, type Secret } from '../../cluster/resources.ts';
import type { Cluster, Watch } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { CERTIFICATE_SECRET, WEBHOOK_SERVICE } from '../names.ts';
import { syncedWatch } from '../synced-watch.ts';
import { noContents, readContents, type CertificateContents, type ServingCertificate } from './contents.ts';

/** The DNS name by which the API server calls the webhook. */
export function webhookHost(namespace: string): string {
  return `${WEBHOOK_SERVICE}.${namespace}.svc`;
}

/**
 * What every replica knows of the webhook's certificate, by a watch on its Secret. A Secret that is deleted or broken changes nothing of what is
 * served: the last good certificate is.
 */
export class CertificateStore implements Closeable {
  /** DNS name of the certificate. */
  readonly host: string;
  readonly #watch: Watch<Secret>;
  readonly #log: Logger;
  readonly #listeners = new Set<() => void>();
  #serving: ServingCertificate | undefined;

  private constructor(watch: Watch<Secret>, host: string, log: Logger) {
    this.#watch = watch;
    this.host = host;
    this.#log = log;
    watch.onChange(() => this.#changed());
    this.#changed();
  }

  /** Resolves once it is known whether there is a certificate. Failures: those of a list. */
  static async open(cluster: Cluster, namespace: string, log: Logger, options: AbortOptions = {}): Promise<CertificateStore> {
    const fieldSelector = `metadata.name=${CERTIFICATE_SECRET}`;
    const watch = await syncedWatch(cluster, secrets, { namespace, fieldSelector, ...options });
    return new CertificateStore(watch, webhookHost(namespace), log);
  }

  /** As it is in the API now; undefined: there is no such Secret. */
  get secret(): Secret | undefined {
    return [...this.#watch.items.values()].find(({ metadata }) => metadata.name === CERTIFICATE_SECRET);
  }

  get contents(): CertificateContents {
    const { secret } = this;
    return secret === undefined ? noContents : readContents(secret, this.host);
  }

  /** What is to be served: the last good one. Undefined: there has been none. */
  get serving(): ServingCertificate | undefined {
    return this.#serving;
  }

  /** What is to be served, as soon as there is something. Rejects with what `signal` aborts with. */
  async first({ signal }: AbortOptions = {}): Promise<ServingCertificate> {
    return await new Promise((resolve, reject) => {
      const done = (): void => {
        unsubscribe();
        signal?.removeEventListener('abort', onAbort);
      };
      const look = (): void => {
        if (this.#serving === undefined) return;
        resolve(this.#serving);
        done();
      };
      const onAbort = (): void => {
        reject(signal?.reason);
        done();
      };
      const unsubscribe = this.onChange(look);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) onAbort();
      else look();
    });
  }

  /** Called after the Secret has changed; returns the function that unsubscribes. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await this.#watch.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #changed(): void {
    const { current } = this.contents;
    if (current !== undefined) this.#serving = current;
    else if (this.#serving !== undefined) this.#log.warn('the Secret of the certificate is gone or broken: the last good one stays in use');
    for (const listener of this.#listeners) listener();
  }
}
