import type { Endpoint } from '../../../tunnel/types.ts';
import type { OwnNames } from './types.ts';
import { parseResolvConf, type ResolvConf } from './resolv-conf-text.ts';

/**
 * What the machine would ask without us, by a resolv.conf: its servers but for `ours`, and its search domains but for `ourSearch`. Without any
 * server libc asks the machine itself.
 */
export function ownNames(conf: ResolvConf | string, ours: readonly string[], ourSearch: readonly string[]): OwnNames {
  const { nameservers, search } = typeof conf === 'string' ? parseResolvConf(conf) : conf;
  const listed = nameservers.length === 0 ? ['127.0.0.1'] : nameservers;
  return {
    servers: listed.filter((address) => !ours.includes(address)).map((address) => ({ address, port: 53 })),
    search: search.filter((domain) => !ourSearch.includes(domain)),
  };
}

export function sameOwn(one: OwnNames, other: OwnNames): boolean {
  return JSON.stringify([one.servers.map(asText), one.search]) === JSON.stringify([other.servers.map(asText), other.search]);
}

function asText({ address, port }: Endpoint): string {
  return `${address} ${port}`;
}
