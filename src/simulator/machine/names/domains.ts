import { addressBits, parseCidr, type Cidr } from '../../../platform/cidr.ts';
import type { NamesPlan } from '../types.ts';

/** systemd-resolved takes 256 for a link, other than in versions before 239. */
const mostDomains = 200;

/** A network that is not cut at a label is written as this many zones at most; otherwise as the next wider one. */
const mostZones = 16;

export interface RoutedDomains {
  readonly search: readonly string[];
  /** Names below these are asked of us, and of nobody else. `~` is not part of them. */
  readonly routes: readonly string[];
  /** How many namespaces were left out, where there are more than a resolver takes. */
  readonly left: number;
}

/**
 * For resolvers that choose a server by the name's ending: the cluster's domain, `svc` (of `web.shop.svc`), each namespace (of `web.shop`), and the
 * reverse zones of its networks. The namespaces come last: they may be many.
 */
export function routedDomains({ domain, search, namespaces, networks }: NamesPlan): RoutedDomains {
  const fixed = [...new Set([domain, 'svc', ...networks.flatMap(reverseZones)])].filter((name) => !search.includes(name));
  const free = Math.max(0, mostDomains - search.length - fixed.length);
  const first = search[0]?.split('.')[0];
  const ordered = [...new Set(namespaces)].toSorted((a, b) => Number(b === first) - Number(a === first));
  return { search, routes: [...fixed, ...ordered.slice(0, free)], left: Math.max(0, ordered.length - free) };
}

/** `10.96.0.0/12` → `96.10.in-addr.arpa` and 15 more. None for what is no network. */
export function reverseZones(network: string): string[] {
  const cidr = parseCidr(network);
  if (cidr === undefined) return [];
  const step = cidr.family === 4 ? 8 : 4;
  const total = addressBits(cidr.family);
  const over = cidr.bits % step;
  const narrow = over === 0 ? cidr.bits : cidr.bits + step - over;
  const count = 2 ** (narrow - cidr.bits);
  const bits = count <= mostZones ? narrow : cidr.bits - over;
  // All of the internet is nobody's cluster.
  if (bits === 0) return [];
  const zones: string[] = [];
  for (let index = 0n; index < (count <= mostZones ? BigInt(count) : 1n); index += 1n) {
    zones.push(zoneOf(cidr, bits, (cidr.base >> BigInt(total - bits)) + index, step));
  }
  return zones;
}

function zoneOf({ family }: Cidr, bits: number, prefix: bigint, step: number): string {
  const labels: string[] = [];
  const mask = (1n << BigInt(step)) - 1n;
  let rest = prefix;
  for (let done = 0; done < bits; done += step) {
    labels.push((rest & mask).toString(family === 4 ? 10 : 16));
    rest >>= BigInt(step);
  }
  return `${labels.join('.')}.${family === 4 ? 'in-addr' : 'ip6'}.arpa`;
}
