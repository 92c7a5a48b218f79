import { BlockList, isIP, isIPv6 } from 'node:net';

/** A network in CIDR notation, to compute with. The bits behind the prefix are zero. */
export interface Cidr {
  readonly family: 4 | 6;
  readonly base: bigint;
  /** The prefix's length: 0 to 32, or to 128. */
  readonly bits: number;
}

/** The bits of an address: 32 or 128. */
export function addressBits(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

/** The address as a number, with its family; undefined for what is no address. `::ffff:10.0.0.1` is the IPv4 address. */
export function parseAddress(text: string): { readonly family: 4 | 6; readonly value: bigint } | undefined {
  const family = isIP(text);
  if (family === 4) return { family, value: fourAsNumber(text) };
  if (family !== 6 || text.includes('%')) return undefined;
  // URL's host serializer writes an IPv4 ending in hex, and compresses one run of zeros.
  const [head = '', tail] = new URL(`http://[${text}]`).hostname.slice(1, -1).split('::');
  const [first, last] = [groups(head), groups(tail ?? '')];
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - first.length - last.length }, () => '0');
  let value = 0n;
  for (const group of [...first, ...zeros, ...last]) value = value * 0x1_0000n + BigInt(Number.parseInt(group, 16));
  return value >> 32n === 0xffffn ? { family: 4, value: value & 0xffff_ffffn } : { family: 6, value };
}

/** `10.0.0.0/8`, or an address alone, which is a network of one. Undefined for what is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', prefix, ...rest] = text.split('/');
  const parsed = parseAddress(address);
  if (parsed === undefined || rest.length > 0 || (prefix !== undefined && !/^\d{1,3}$/.test(prefix))) return undefined;
  // `::ffff:10.0.0.0/104` is rare enough not to be understood.
  if (prefix !== undefined && parsed.family !== isIP(address)) return undefined;
  const bits = prefix === undefined ? addressBits(parsed.family) : Number(prefix);
  return bits > addressBits(parsed.family) ? undefined : cidrOf(parsed.family, parsed.value, bits);
}

/** The network of `bits` in which the address is. */
export function cidrOf(family: 4 | 6, address: bigint, bits: number): Cidr {
  const rest = BigInt(addressBits(family) - bits);
  return { family, base: (address >> rest) << rest, bits };
}

/** As it is written: `10.0.0.0/8`, `fd00::/64`. */
export function formatCidr({ family, base, bits }: Cidr): string {
  return `${formatAddress(family, base)}/${bits}`;
}

/** The one way to write an address (RFC 5952 for IPv6). */
export function formatAddress(family: 4 | 6, value: bigint): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
  const parts = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - index * 16)) & 0xffffn).toString(16));
  return new URL(`http://[${parts.join(':')}]`).hostname.slice(1, -1);
}

/** Whether `outer` has every address of `inner`. */
export function containsCidr(outer: Cidr, inner: Cidr): boolean {
  return outer.family === inner.family && outer.bits <= inner.bits && cidrOf(inner.family, inner.base, outer.bits).base === outer.base;
}

/** Whether two networks share an address: one of them then has the other. */
export function overlaps(one: Cidr, other: Cidr): boolean {
  return containsCidr(one, other) || containsCidr(other, one);
}

/** The last address of a network. */
export function lastAddress({ family, base, bits }: Cidr): bigint {
  return base + (1n << BigInt(addressBits(family) - bits)) - 1n;
}

/** The same addresses in as few networks as can be, in order; no two of them overlap. */
export function aggregate(cidrs: Iterable<Cidr>): Cidr[] {
  const sorted = [...cidrs].sort((a, b) => a.family - b.family || (a.base < b.base ? -1 : a.base > b.base ? 1 : a.bits - b.bits));
  const joined: Cidr[] = [];
  for (const cidr of sorted) {
    const previous = joined.at(-1);
    if (previous !== undefined && containsCidr(previous, cidr)) continue;
    joined.push(cidr);
    // Two halves of one network are that network.
    for (let [left, right] = [joined.at(-2), joined.at(-1)]; ; [left, right] = [joined.at(-2), joined.at(-1)]) {
      if (left === undefined || right === undefined || left.family !== right.family || left.bits !== right.bits || left.bits === 0) break;
      const whole = cidrOf(left.family, left.base, left.bits - 1);
      if (!containsCidr(whole, right)) break;
      joined.splice(-2, 2, whole);
    }
  }
  return joined;
}

/** `cidrs` without the addresses of `holes`, in order; no two of them overlap. */
export function subtract(cidrs: Iterable<Cidr>, holes: Iterable<Cidr>): Cidr[] {
  const sorted = aggregate(holes);
  let first = 0;
  return aggregate(cidrs).flatMap((cidr) => {
    const last = lastAddress(cidr);
    for (let hole = sorted[first]; hole !== undefined && isBefore(hole, cidr); hole = sorted[first]) first += 1;
    let end = first;
    for (let hole = sorted[end]; hole?.family === cidr.family && hole.base <= last; hole = sorted[end]) end += 1;
    return without(cidr, sorted.slice(first, end));
  });
}

/** Whether all of `one` is before all of `other`, in the order of `aggregate`. */
function isBefore(one: Cidr, other: Cidr): boolean {
  return one.family < other.family || (one.family === other.family && lastAddress(one) < other.base);
}

function without(cidr: Cidr, holes: readonly Cidr[]): Cidr[] {
  const met = holes.filter((hole) => overlaps(hole, cidr));
  if (met.length === 0) return [cidr];
  if (met.some((hole) => containsCidr(hole, cidr))) return [];
  const lower = cidrOf(cidr.family, cidr.base, cidr.bits + 1);
  const upper = cidrOf(cidr.family, lastAddress(cidr), cidr.bits + 1);
  return [...without(lower, met), ...without(upper, met)];
}

/** Networks to find out quickly whether one of them has all of another: one look-up for each length of prefix that occurs. */
export class CidrIndex {
  readonly #keys = new Set<string>();
  readonly #lengths = { 4: new Set<number>(), 6: new Set<number>() };

  constructor(cidrs: Iterable<Cidr>) {
    for (const cidr of cidrs) {
      this.#keys.add(cidrKey(cidr));
      this.#lengths[cidr.family].add(cidr.bits);
    }
  }

  contains({ family, base, bits }: Cidr): boolean {
    for (const length of this.#lengths[family]) {
      if (length <= bits && this.#keys.has(cidrKey(cidrOf(family, base, length)))) return true;
    }
    return false;
  }
}

/** The same for the same network, and for no other. */
export function cidrKey({ family, base, bits }: Cidr): string {
  return `${family}/${bits}/${base}`;
}

/** Networks of both families to look addresses up in; quick for one as for thousands. */
export class AddressSet {
  readonly #list = new BlockList();
  readonly #empty: boolean;
  /** Single addresses, apart: a BlockList looks through its entries one after the other. */
  readonly #single = new Set<string>();

  constructor(cidrs: Iterable<Cidr>) {
    const joined = aggregate(cidrs);
    let ranges = 0;
    for (const { family, base, bits } of joined) {
      if (bits === addressBits(family)) {
        this.#single.add(formatAddress(family, base));
        continue;
      }
      ranges += 1;
      this.#list.addSubnet(formatAddress(family, base), bits, family === 6 ? 'ipv6' : 'ipv4');
    }
    this.#empty = ranges === 0;
  }

  /** False for what is no address. */
  has(address: string): boolean {
    if (this.#single.size > 0) {
      const parsed = parseAddress(address);
      if (parsed !== undefined && this.#single.has(formatAddress(parsed.family, parsed.value))) return true;
    }
    if (this.#empty || isIP(address) === 0) return false;
    return this.#list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }
}

function fourAsNumber(text: string): bigint {
  let value = 0;
  for (const part of text.split('.')) value = value * 256 + Number(part);
  return BigInt(value);
}

function groups(text: string): string[] {
  return text === '' ? [] : text.split(':');
}
