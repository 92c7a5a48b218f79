import type { AbortOptions } from '../../platform/abort.ts';
import { CachedUpstream } from './cached-upstream.ts';
import { decodeAnswers, queryFor, RCODE } from './message.ts';
import type { Answer, Query, ResourceRecord } from './message.ts';
import { translateAddresses } from './message-walk.ts';
import { asRecords } from './received-records.ts';
import type { Upstream } from './upstream.ts';
import type { Zone } from './zone.ts';

export interface ClusterDnsOptions {
  readonly upstream: Upstream;
  readonly zone: Pick<Zone, 'contains' | 'domain'>;
  /** What programs are told in the place of an address. */
  readonly toLocal: (address: string) => string;
  readonly onClusterAddress?: ((address: string) => void | Promise<void>) | undefined;
}

/** How long it is remembered whether there is a namespace: milliseconds, and how many. */
const NAMESPACE_MILLISECONDS = 30_000;
const MOST_NAMESPACES = 1024;

/** The cluster's own name servers, for names whose records may not be seen. All methods reject as `Upstream.query` does. */
export class ClusterDns {
  readonly #options: ClusterDnsOptions;
  readonly #cache: CachedUpstream;
  readonly #namespaces = new Map<string, { readonly absent: boolean; readonly until: number }>();

  constructor(options: ClusterDnsOptions) {
    this.#options = options;
    this.#cache = new CachedUpstream(options.upstream);
  }

  /** The answer to the client's own question. */
  ask(query: Query, abort: AbortOptions): Buffer | Promise<Buffer> {
    const reply = this.#cache.ask(query, abort);
    return reply instanceof Promise ? this.#learned(reply) : this.#localized(reply);
  }

  /** What is said of another name than the one that the client wrote, with the same type and flags. */
  async askFor(name: string, query: Query, abort: AbortOptions): Promise<Answer> {
    const received = decodeAnswers(await this.#cache.ask(queryFor(name, query), abort));
    const answers = asRecords(received.answers);
    await this.#tell(answers);
    const { toLocal } = this.#options;
    return {
      rcode: received.rcode,
      authoritative: received.authoritative,
      answers: answers.map((record) => ('address' in record ? { ...record, address: toLocal(record.address) } : record)),
      authorities: asRecords(received.authorities),
      additionals: [],
    };
  }

  /**
   * Whether the cluster is known to have no such namespace, as with `com` in `example.com.svc.cluster.local`: then it has no names below it, either
   * (RFC 8020), and need not be asked for each.
   */
  lacks(namespace: string): boolean {
    const known = this.#namespaces.get(namespace.toLowerCase());
    return known !== undefined && known.absent && performance.now() < known.until;
  }

  /** To be called where a name of the namespace turned out not to exist: finds out whether the namespace does. */
  async examine(namespace: string, query: Query, abort: AbortOptions): Promise<void> {
    const key = namespace.toLowerCase();
    const until = performance.now() + NAMESPACE_MILLISECONDS;
    if ((this.#namespaces.get(key)?.until ?? 0) > performance.now()) return;
    // Also so that nobody else asks meanwhile.
    this.#remember(key, { absent: false, until });
    try {
      const { rcode } = await this.askFor(`${key}.svc.${this.#options.zone.domain}`, query, abort);
      this.#remember(key, { absent: rcode === RCODE.NXDOMAIN, until });
    } catch {
      this.#namespaces.delete(key);
    }
  }

  #remember(namespace: string, known: { readonly absent: boolean; readonly until: number }): void {
    this.#namespaces.delete(namespace);
    this.#namespaces.set(namespace, known);
    for (const oldest of this.#namespaces.keys()) {
      if (this.#namespaces.size <= MOST_NAMESPACES) break;
      this.#namespaces.delete(oldest);
    }
  }

  async #learned(reply: Promise<Buffer>): Promise<Buffer> {
    const message = await reply;
    if (this.#options.onClusterAddress !== undefined) await this.#tell(asRecords(decodeAnswers(message).answers));
    return this.#localized(message);
  }

  async #tell(records: readonly ResourceRecord[]): Promise<void> {
    const { onClusterAddress, zone } = this.#options;
    if (onClusterAddress === undefined) return;
    for (const record of records) if ('address' in record && zone.contains(record.name)) await onClusterAddress(record.address);
  }

  #localized(message: Buffer): Buffer {
    translateAddresses(message, this.#options.toLocal);
    return message;
  }
}
