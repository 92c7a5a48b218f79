import { createHash } from 'node:crypto';
import {
  addressBits,
  cidrOf,
  containsCidr,
  formatAddress,
  formatCidr,
  overlaps,
  parseAddress,
  parseCidr,
  type Cidr,
} from '../platform/cidr.ts';
import { Failure } from '../platform/errors.ts';

/** Where synthetic addresses are taken from, a range for each family. */
export interface SyntheticRanges {
  readonly ipv4: Cidr;
  readonly ipv6: Cidr;
}

/**
 * Ranges that hold nothing of `taken`: 198.18.0.0/15, which is set aside for benchmarks (RFC 2544), or half of it, or one of others that are
 * seldom used; and a unique local /64 (RFC 4193). Failure SYNTHETIC_RANGE_TAKEN if every one is taken.
 */
export function chooseSyntheticRanges(taken: readonly Cidr[]): SyntheticRanges {
  return { ipv4: firstFree(candidates4, taken), ipv6: firstFree(candidates6, taken) };
}

function firstFree(candidates: readonly Cidr[], taken: readonly Cidr[]): Cidr {
  const free = candidates.find((candidate) => !taken.some((one) => overlaps(one, candidate)));
  if (free !== undefined) return free;
  throw new Failure('SYNTHETIC_RANGE_TAKEN', `every range for synthetic addresses is taken: ${candidates.map(formatCidr).join(', ')}`, {
    likely: 'a VPN or the cluster routes all of them',
    remedy: 'free one of them, or leave the cluster network that overlaps a route out with --never',
  });
}

const candidates4 = cidrs(
  ['198.18.0.0/15', '198.19.0.0/16', '100.127.0.0/16', '10.253.0.0/16', '172.29.0.0/16', '192.168.240.0/20'].concat([
    '203.0.113.0/24',
    '198.51.100.0/24',
  ]),
);
const candidates6 = cidrs(['fd6b:7065:6572::/64', 'fd6b:7065:6572:1::/64', 'fd6b:7065:6573::/64', 'fdc3:8a1e:5d42::/64']);
/** `kpctl run` has addresses of its own in the first, so that a command would not reach a synthetic one there; `kpctl up` in the others. */
const reserved = cidrs(['198.18.0.0/24', '198.19.255.0/24', 'fd6b:7065:6572:ffff::/64']);

function cidrs(texts: readonly string[]): Cidr[] {
  return texts.flatMap((text) => parseCidr(text) ?? []);
}

export interface SyntheticOptions {
  readonly ranges: SyntheticRanges;
  /** Whether a cluster address must be stood for by a synthetic one. Asked with each name, so that it may change. */
  readonly isSwitched: (address: string) => boolean;
  /** Whether open flows use this synthetic address: it then keeps its meaning. */
  readonly isInUse?: (address: string) => boolean;
  /** The most that are remembered. */
  readonly capacity?: number;
  /** How long an address keeps its meaning after it was last handed out: programs remember answers for longer than their TTL (Java: 30 s). */
  readonly keepMilliseconds?: number;
  /** A clock in milliseconds. */
  readonly now?: () => number;
}

interface Mapping {
  readonly cluster: string;
  readonly synthetic: string;
  lastUsed: number;
}

const DEFAULT_CAPACITY = 32_768;
const DEFAULT_KEEP_MILLISECONDS = 600_000;
/** Above that, an address is found by trying too often. */
const MOST_FULL = 0.5;

/**
 * Which synthetic address stands for which cluster address. A cluster address has the same one each time (it is computed from it, and moved on only
 * where another has that place), so that a second `kpctl up` gives what programs remember from the first. When `capacity` are remembered, the one
 * that was used the longest time ago is given up, if no flow is open to it and nobody can remember it.
 */
export class SyntheticAddresses {
  readonly #options: Required<SyntheticOptions>;
  readonly #capacity: { readonly 4: number; readonly 6: number };
  /** In the order of their last use. */
  readonly #byCluster = { 4: new Map<string, Mapping>(), 6: new Map<string, Mapping>() };
  readonly #bySynthetic = new Map<string, Mapping>();

  constructor(options: SyntheticOptions) {
    this.#options = {
      isInUse: () => false,
      capacity: DEFAULT_CAPACITY,
      keepMilliseconds: DEFAULT_KEEP_MILLISECONDS,
      now: () => performance.now(),
      ...options,
    };
    const room = (range: Cidr): number => Math.floor(2 ** (addressBits(range.family) - range.bits) * MOST_FULL);
    const { ranges, capacity } = this.#options;
    this.#capacity = { 4: Math.min(capacity, room(ranges.ipv4)), 6: Math.min(capacity, room(ranges.ipv6)) };
  }

  /** The ranges in use, to be captured as a whole. */
  get ranges(): readonly string[] {
    return [formatCidr(this.#options.ranges.ipv4), formatCidr(this.#options.ranges.ipv6)];
  }

  /** How many addresses are stood for now. */
  get size(): number {
    return this.#bySynthetic.size;
  }

  /**
   * What a name's answer has in place of a cluster address: its synthetic one if it is switched, else itself. Failure SYNTHETIC_EXHAUSTED when all
   * are in use or were used a moment ago.
   */
  toLocal(address: string): string {
    if (!this.#options.isSwitched(address)) return address;
    const parsed = parseAddress(address);
    if (parsed === undefined) return address;
    const cluster = formatAddress(parsed.family, parsed.value);
    const mappings = this.#byCluster[parsed.family];
    const known = mappings.get(cluster);
    if (known !== undefined) {
      this.#touch(parsed.family, known);
      return known.synthetic;
    }
    if (mappings.size >= this.#capacity[parsed.family]) this.#giveUp(parsed.family);
    const mapping = { cluster, synthetic: this.#place(parsed.family, cluster), lastUsed: this.#options.now() };
    mappings.set(cluster, mapping);
    this.#bySynthetic.set(mapping.synthetic, mapping);
    return mapping.synthetic;
  }

  /** The cluster address that a synthetic one stands for. Undefined for any other address, and for one that stands for none (any more). */
  toCluster(address: string): string | undefined {
    const mapping = this.#bySynthetic.get(address) ?? this.#bySynthetic.get(canonical(address));
    if (mapping === undefined) return undefined;
    this.#touch(mapping.cluster.includes(':') ? 6 : 4, mapping);
    return mapping.cluster;
  }

  /** Whether an address is of the synthetic ranges, whatever it stands for. */
  isSynthetic(address: string): boolean {
    const cidr = parseCidr(address);
    const { ipv4, ipv6 } = this.#options.ranges;
    return cidr !== undefined && (containsCidr(ipv4, cidr) || containsCidr(ipv6, cidr));
  }

  #touch(family: 4 | 6, mapping: Mapping): void {
    mapping.lastUsed = this.#options.now();
    this.#byCluster[family].delete(mapping.cluster);
    this.#byCluster[family].set(mapping.cluster, mapping);
  }

  /** Forgets the mapping that was used the longest time ago and may be forgotten. */
  #giveUp(family: 4 | 6): void {
    const { isInUse, keepMilliseconds, now } = this.#options;
    const before = now() - keepMilliseconds;
    for (const mapping of this.#byCluster[family].values()) {
      if (mapping.lastUsed > before) break;
      if (isInUse(mapping.synthetic)) continue;
      this.#byCluster[family].delete(mapping.cluster);
      this.#bySynthetic.delete(mapping.synthetic);
      return;
    }
    throw new Failure('SYNTHETIC_EXHAUSTED', `all ${this.#capacity[family]} synthetic addresses are in use`, {
      likely: 'programs have asked for that many names of the cluster within ten minutes',
      remedy: 'wait, or run "kpctl down" and "kpctl up" again',
    });
  }

  /** A free place that is the same for the same address, unless another was there first. */
  #place(family: 4 | 6, cluster: string): string {
    const range = family === 4 ? this.#options.ranges.ipv4 : this.#options.ranges.ipv6;
    const size = 1n << BigInt(addressBits(family) - range.bits);
    for (let place = createHash('sha256').update(cluster).digest().readBigUInt64BE() % size; ; place = (place + 1n) % size) {
      const value = range.base + place;
      const address = formatAddress(family, value);
      if (!this.#bySynthetic.has(address) && !isReserved(family, value)) return address;
    }
  }
}

function isReserved(family: 4 | 6, value: bigint): boolean {
  // The first and the last of a /24 look like a network's and its broadcast address: some programs refuse those.
  const last = value & 0xffn;
  if (family === 4 && (last === 0n || last === 0xffn)) return true;
  const own = cidrOf(family, value, addressBits(family));
  return reserved.some((cidr) => containsCidr(cidr, own)) || (family === 6 && (value & 0xffff_ffff_ffff_ffffn) === 0n);
}

function canonical(address: string): string {
  const parsed = parseAddress(address);
  return parsed === undefined ? address : formatAddress(parsed.family, parsed.value);
}
