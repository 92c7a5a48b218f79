import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { version } from '../platform/version.ts';
import { parseResolvConf } from '../simulator/dns/search.ts';
import type { LocalHello, PeerNames } from '../tunnel/index.ts';

/** What every role of `kpeering` takes. A port of 0 is the kernel's choice. */
export interface RoleOptions {
  readonly tunnelPort: number;
  readonly healthHost: string;
  readonly healthPort: number;
  /** `shop/web-7d9`. */
  readonly name: string;
  readonly log: Logger;
}

/** A running role: `drain` first, `close` when it has resolved or the deadline has passed. */
export interface Role extends Closeable {
  /** Of one that ends by itself: resolves with why. */
  readonly finished?: Promise<string>;
  drain(): Promise<void>;
}

/** The pod's name as the downward API gives it (POD_NAMESPACE, POD_NAME), else the host's. */
export function podName(environment: NodeJS.ProcessEnv): string {
  const { POD_NAMESPACE: namespace, POD_NAME: name } = environment;
  const pod = name === undefined || name === '' ? hostname() : name;
  return namespace === undefined || namespace === '' ? pod : `${namespace}/${pod}`;
}

/** What a pod says of itself, with its resolv.conf at the start, which nothing changes later. */
export function helloOf(role: 'sidecar' | 'gateway', name: string, resolvConf = '/etc/resolv.conf'): Omit<LocalHello, 'id'> {
  const names = namesIn(resolvConf);
  return { role, software: version, name, ...(names !== undefined && { names }) };
}

/** The name servers and search domains of a pod; undefined where the file cannot be read or names no server. */
function namesIn(path: string): PeerNames | undefined {
  try {
    const { nameservers, search } = parseResolvConf(readFileSync(path, 'utf8'));
    return nameservers.length === 0
      ? undefined
      : { servers: nameservers, search: search.filter(({ length }) => length <= 255).slice(0, 32) };
  } catch {
    return undefined;
  }
}

/** Resolves when each of them is idle. */
export async function settled(parts: readonly ({ whenIdle(): Promise<void> } | undefined)[]): Promise<void> {
  await Promise.all(parts.map(async (part) => part?.whenIdle()));
}
