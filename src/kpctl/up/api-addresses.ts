import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Cluster } from '../../cluster/types.ts';

/** How a name's addresses are found; tests give their own. */
export type LookUp = (name: string) => Promise<readonly string[]>;

/**
 * Every address that the API server's name, and its proxy's, resolves to. They are never captured: everybody's kubectl and kpctl must go on to reach them
 * directly. A name that cannot be resolved now has those that it had `before`.
 */
export class ApiAddresses {
  readonly #hosts: readonly string[];
  readonly #lookUp: LookUp;
  #known = new Map<string, readonly string[]>();

  constructor(cluster: Pick<Cluster, 'hosts'>, lookUp: LookUp = bySystem) {
    this.#hosts = cluster.hosts;
    this.#lookUp = lookUp;
  }

  get now(): readonly string[] {
    return [...new Set([...this.#known.values()].flat())].toSorted();
  }

  /** Resolves the names again; whether anything has changed. Never rejects. */
  async refresh(): Promise<boolean> {
    const before = this.now.join(' ');
    const found = await Promise.all(
      this.#hosts.map(async (host): Promise<readonly [string, readonly string[]]> => {
        if (isIP(host) !== 0) return [host, [host]];
        try {
          return [host, await this.#lookUp(host)];
        } catch {
          return [host, this.#known.get(host) ?? []];
        }
      }),
    );
    this.#known = new Map(found);
    return this.now.join(' ') !== before;
  }
}

async function bySystem(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}
