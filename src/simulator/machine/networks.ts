import { aggregate, formatCidr, parseCidr } from '../../platform/cidr.ts';
import { Failure } from '../../platform/errors.ts';
import type { CapturedNetworks } from './types.ts';

type ByFamily = Readonly<Record<4 | 6, readonly string[]>>;

/** Networks, each written in the one way, none within another: what nft and ip are given. */
export interface FamilyNetworks {
  readonly capture: ByFamily;
  readonly never: ByFamily;
}

/** Reads networks that somebody else has written. Throws a Failure NETWORK_INVALID. */
export function parseNetworks({ capture, never }: CapturedNetworks): FamilyNetworks {
  return { capture: byFamily(capture), never: byFamily(never) };
}

function byFamily(networks: readonly string[]): ByFamily {
  const parsed = networks.map((network) => {
    const cidr = parseCidr(network);
    if (cidr === undefined) throw new Failure('NETWORK_INVALID', `${JSON.stringify(network)} is no network in CIDR notation`);
    return cidr;
  });
  const joined = aggregate(parsed);
  const of = (family: 4 | 6): string[] => joined.filter((cidr) => cidr.family === family).map(formatCidr);
  return { 4: of(4), 6: of(6) };
}
