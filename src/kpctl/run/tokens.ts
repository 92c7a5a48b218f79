import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { TokenSource } from '../../simulator/files/index.ts';

/** Lifetimes in seconds: what a source without one means, and the least that the API grants (API reference, TokenRequestSpec). */
const DEFAULT_LIFETIME = 3600;
const LEAST_LIFETIME = 600;
/** What the API server takes to mean "an hour, and a year for those who do not read it again" (kubernetes.io, Managing Service Accounts). */
const EXTENDED_LIFETIME = 3607;
/** The kubelet renews a token when this part of its life is over, or when it is a day old (pkg/kubelet/token). */
const RENEWED_AFTER = 0.8;
const OLDEST_MILLISECONDS = 24 * 3600 * 1000;

interface Kept {
  readonly token: string;
  /** `Date.now()`, of the wall's clock: a laptop sleeps. */
  readonly renewAt: number;
  readonly expires: number;
}

/**
 * Tokens of a pod's service account, renewed before they expire. They are not bound to the pod, as the kubelet's are: COMMAND outlives pods, and must not
 * lose its token with one. So they live for an hour at most, where the kubelet's default is extended to a year.
 */
export class Tokens {
  readonly #cluster: Cluster;
  readonly #account: { readonly namespace: string; readonly serviceAccount: string };
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();

  constructor(
    cluster: Cluster,
    account: { readonly namespace: string; readonly serviceAccount: string },
    now: () => number = () => Date.now(),
  ) {
    this.#cluster = cluster;
    this.#account = account;
    this.#now = now;
  }

  /** Undefined: there is no such service account. Rejects when there is no valid token and none can be had. */
  async get(source: TokenSource, { signal }: AbortOptions = {}): Promise<string | undefined> {
    const wanted = source.expirationSeconds ?? DEFAULT_LIFETIME;
    const expirationSeconds = Math.max(LEAST_LIFETIME, wanted === EXTENDED_LIFETIME ? DEFAULT_LIFETIME : wanted);
    const key = `${expirationSeconds} ${source.audience ?? ''}`;
    const kept = this.#kept.get(key);
    const now = this.#now();
    if (kept !== undefined && now < kept.renewAt) return kept.token;
    try {
      const granted = await this.#cluster.createToken({
        ...this.#account,
        expirationSeconds,
        ...(source.audience !== undefined && source.audience !== '' && { audience: source.audience }),
        ...(signal !== undefined && { signal }),
      });
      const lifetime = granted.expirationSeconds * 1000;
      const renewAt = now + Math.min(lifetime * RENEWED_AFTER, OLDEST_MILLISECONDS);
      this.#kept.set(key, { token: granted.token, renewAt, expires: now + lifetime });
      return granted.token;
    } catch (error) {
      if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
      if (kept !== undefined && now < kept.expires) return kept.token;
      throw error;
    }
  }
}
