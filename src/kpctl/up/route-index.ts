import { addressBits, cidrKey, cidrOf, containsCidr, type Cidr } from '../../platform/cidr.ts';
import type { Route } from '../../platform/routes.ts';

/**
 * Routes to find those that overlap a network: one look-up for each length of prefix that occurs, since a VPN may have thousands of routes and a
 * cluster thousands of addresses. Routes that lead everywhere (`/0`, and the halves of one, by which VPNs replace a default route), and those of
 * loopback, link-local and multicast are left out: they say nothing about a network.
 */
export class RouteIndex {
  readonly #byPrefix = new Map<string, Route>();
  readonly #lengths = { 4: new Set<number>(), 6: new Set<number>() };

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const { destination, device } = route;
      if (destination.bits <= 1 || device === 'lo' || isLocalOnly(destination)) continue;
      const key = cidrKey(destination);
      // Of several routes to one network the first, but rather one that says more than that an address is this machine's.
      const known = this.#byPrefix.get(key);
      if (known === undefined || known.kind === 'local') this.#byPrefix.set(key, route);
      this.#lengths[destination.family].add(destination.bits);
    }
  }

  get destinations(): Cidr[] {
    return [...this.#byPrefix.values()].map(({ destination }) => destination);
  }

  /** The most exact route that has all of the network; else those that have a part of it, without the ones inside of others. */
  overlapping(network: Cidr): readonly Route[] {
    const lengths = this.#lengths[network.family];
    let outer: Route | undefined;
    for (const bits of lengths) {
      if (bits > network.bits || (outer !== undefined && bits <= outer.destination.bits)) continue;
      outer = this.#byPrefix.get(cidrKey(cidrOf(network.family, network.base, bits))) ?? outer;
    }
    if (outer !== undefined) return [outer];
    if (network.bits === addressBits(network.family)) return [];
    const inner = [...this.#byPrefix.values()].filter(({ destination }) => containsCidr(network, destination));
    return inner.filter(
      ({ destination }) => !inner.some((other) => other.destination !== destination && containsCidr(other.destination, destination)),
    );
  }
}

const localOnly: readonly Cidr[] = [
  { family: 4, base: 127n << 24n, bits: 8 },
  { family: 4, base: 0xa9fe_0000n, bits: 16 },
  { family: 4, base: 0xe000_0000n, bits: 4 },
  { family: 6, base: 1n, bits: 128 },
  { family: 6, base: 0xfe80n << 112n, bits: 10 },
  { family: 6, base: 0xffn << 120n, bits: 8 },
];

function isLocalOnly(cidr: Cidr): boolean {
  return localOnly.some((one) => containsCidr(one, cidr));
}
