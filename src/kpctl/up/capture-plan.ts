import type { Network, NetworksFound } from '../../cluster/networks.ts';
import {
  AddressSet,
  CidrIndex,
  aggregate,
  containsCidr,
  formatCidr,
  overlaps,
  parseCidr,
  subtract,
  type Cidr,
} from '../../platform/cidr.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { formatRoute, type Route } from '../../platform/routes.ts';
import { chooseSyntheticRanges, type SyntheticRanges } from '../../simulator/synthetic-addresses.ts';
import { RouteIndex } from './route-index.ts';

export interface CaptureQuestion {
  readonly networks: NetworksFound;
  /** This machine's, without those that kpctl itself has made. */
  readonly routes: readonly Route[];
  /** `--also`: networks or addresses that are captured as well, or though a route overlaps them. Checked by {@link checkedNetworks}. */
  readonly also: readonly string[];
  /** `--never`: wins over everything. */
  readonly never: readonly string[];
  /** Addresses of the API server, and of the proxy on the way to it. */
  readonly apiServer: readonly string[];
  /** Addresses of this machine's own name servers. */
  readonly nameServers: readonly string[];
  /** The ranges of the plan before: kept while they are free, because programs have addresses of them. */
  readonly ranges?: SyntheticRanges;
  /** Whether programs may have addresses of `ranges`: they stay captured then, also when nothing is switched any more. */
  readonly handedOut?: boolean;
}

/** A part of the cluster's network that a local route has. */
export interface Overlap {
  /** The network of the cluster, as the API tells it. */
  readonly network: string;
  readonly of: 'Services' | 'pods';
  /** What of it is switched to synthetic addresses: all of it, or the part that the route has. */
  readonly switched: string;
  /** `10.0.0.0/8 via 10.8.0.1 dev tun0 table 52` */
  readonly route: string;
  readonly device: string | undefined;
}

/** What is captured, how, and what the user should know. */
export interface CapturePlan {
  /** Networks that do not overlap each other, of both families; with the synthetic ranges if anything is switched. */
  readonly capture: readonly string[];
  /** What is never captured, though `capture` may have it. */
  readonly never: readonly string[];
  /** Whether an address must be stood for by a synthetic one. */
  readonly isSwitched: (address: string) => boolean;
  /** Whether the plan captures this address, or its synthetic one. */
  readonly isCluster: (address: string) => boolean;
  readonly ranges: SyntheticRanges;
  readonly overlaps: readonly Overlap[];
  /** Sentences, each once; the same as long as nothing changes. */
  readonly warnings: readonly string[];
}

/** Never the cluster's, whatever anybody says: loopback, link-local, multicast, broadcast, "this network". */
const NOBODYS = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '255.255.255.255/32',
  '::/128',
  '::1/128',
  'fe80::/10',
  'ff00::/8',
];

/** The values of `--also` or `--never`. Failure NETWORK_INVALID for what is no network, and for all of a family at once. */
export function checkedNetworks(option: '--also' | '--never', values: readonly string[]): string[] {
  return values.map((value) => {
    const cidr = parseCidr(value.trim());
    if (cidr !== undefined && (cidr.bits > 0 || option === '--never')) return formatCidr(cidr);
    const reason = cidr === undefined ? 'is neither a network nor an address' : 'would capture the whole internet';
    throw new Failure('NETWORK_INVALID', `${option} ${value} ${reason}`, {
      remedy: 'give it like 10.96.0.0/12, 192.0.2.7 or fd00:96::/112',
      exitCode: ExitCode.usage,
    });
  });
}

/**
 * Decides what is captured. Pure: the same question has the same answer. A cluster network that overlaps a route of this machine is switched to
 * synthetic addresses as far as they overlap: names lead to the cluster, and addresses of that network to where they led before. A default route
 * (and the halves of one that VPNs make) overlaps nothing. `--also` captures as it says, also what a route has.
 */
export function planCapture(question: CaptureQuestion): CapturePlan {
  const also = aggregate(parsed(question.also));
  const always = aggregate(parsed([...question.never, ...question.apiServer, ...question.nameServers, ...NOBODYS]));
  const [alsoIndex, alwaysIndex] = [new CidrIndex(also), new CidrIndex(always)];
  const routes = new RouteIndex(question.routes);
  const ofCluster = (of: Overlap['of'], networks: readonly Network[]) =>
    parsed(networks.map(({ cidr }) => cidr)).map((cidr) => ({ cidr, of }));
  const found = [...ofCluster('Services', question.networks.services), ...ofCluster('pods', question.networks.pods)].filter(
    ({ cidr }) => !alwaysIndex.contains(cidr),
  );

  const met: Met[] = [];
  for (const { cidr, of } of found) {
    if (alsoIndex.contains(cidr)) continue;
    for (const route of routes.overlapping(cidr)) {
      const switched = containsCidr(route.destination, cidr) ? cidr : route.destination;
      if (alsoIndex.contains(switched) || alwaysIndex.contains(switched)) continue;
      met.push({
        overlap: { network: formatCidr(cidr), of, switched: formatCidr(switched), route: formatRoute(route), device: route.device },
        switched,
        route,
      });
    }
  }
  const switched = aggregate(met.map(({ switched: one }) => one));
  const networks = found.map(({ cidr }) => cidr);
  const taken = [...networks, ...also, ...always, ...routes.destinations];
  const ranges = rangesFor(question, switched, taken);
  const direct = aggregate([...subtract(networks, switched), ...also]);
  const synthetic = switched.length > 0 || question.handedOut === true ? [ranges.ipv4, ranges.ipv6] : [];
  const capture = aggregate([...direct, ...synthetic]);

  const switchedSet = new AddressSet(subtract(switched, [...always, ...also]));
  const directSet = new AddressSet(subtract(direct, always));
  return {
    capture: capture.map(formatCidr),
    never: always.map(formatCidr),
    isSwitched: (address) => switchedSet.has(address),
    isCluster: (address) => directSet.has(address) || switchedSet.has(address),
    ranges,
    overlaps: met.map(({ overlap }) => overlap),
    warnings: [...overlapWarnings(met, ranges), ...alsoWarnings(also, routes), ...neverWarnings(question, networks)],
  };
}

/** A cluster network that a route overlaps. */
interface Met {
  readonly overlap: Overlap;
  readonly switched: Cidr;
  readonly route: Route;
}

/**
 * Those of before if they are still free, so that a route that comes does not change addresses that programs have. Of a family in which nothing is
 * switched any will do.
 */
function rangesFor({ ranges }: CaptureQuestion, switched: readonly Cidr[], taken: readonly Cidr[]): SyntheticRanges {
  const relevant = taken.filter(({ family }) => switched.some((one) => one.family === family));
  if (ranges !== undefined && !relevant.some((one) => overlaps(one, ranges.ipv4) || overlaps(one, ranges.ipv6))) return ranges;
  return chooseSyntheticRanges(relevant);
}

/** One sentence for each route, however many addresses of the cluster it has. */
function overlapWarnings(met: readonly Met[], ranges: SyntheticRanges): string[] {
  const byRoute = Map.groupBy(met, ({ overlap }) => overlap.route);
  return [...byRoute.values()].map((overlapping) => {
    const [{ overlap, route, switched } = { overlap: undefined, route: undefined, switched: undefined }] = overlapping;
    if (overlap === undefined || route === undefined) return '';
    const range = formatCidr(switched.family === 4 ? ranges.ipv4 : ranges.ipv6);
    const part = overlap.switched === overlap.network ? overlap.network : `${overlap.switched} of ${overlap.network}`;
    const of = [...new Set(overlapping.map((one) => one.overlap.of))].join(' and ');
    const what =
      overlapping.length === 1 ? `${part} (${of})` : `${part} and ${overlapping.length - 1} more networks of the cluster's (${of})`;
    return (
      `${what} overlaps this machine's route ${overlap.route}${described(route)}: names there get addresses of ${range} instead, ` +
      `and a bare address of that network goes where it went before`
    );
  });
}

function alsoWarnings(also: readonly Cidr[], routes: RouteIndex): string[] {
  return also.flatMap((cidr) =>
    [...routes.overlapping(cidr)].map(
      (route) =>
        `--also ${formatCidr(cidr)} overlaps this machine's route ${formatRoute(route)}${described(route)}: what is there cannot be reached while up runs`,
    ),
  );
}

/** A name server or the API server in a network that is captured: told, since it stays as it is. */
function neverWarnings({ apiServer, nameServers }: CaptureQuestion, networks: readonly Cidr[]): string[] {
  const told = (what: string, addresses: readonly string[]): string[] =>
    parsed(addresses).flatMap((one) => {
      const network = networks.find((cidr) => containsCidr(cidr, one));
      if (network === undefined || network.bits === one.bits) return [];
      return [`${what} ${formatCidr(one).replace(/\/\d+$/, '')} is in ${formatCidr(network)}: it is not captured`];
    });
  return [...told('the API server', apiServer), ...told('the name server', nameServers)];
}

const VPN_KINDS: ReadonlySet<string> = new Set(['wireguard', 'tun', 'ppp', 'ipip', 'gre', 'vti', 'xfrm', 'ovpn', 'ovpn-dco', 'ipsec']);

function described({ deviceKind, device }: Route): string {
  if (deviceKind !== undefined && VPN_KINDS.has(deviceKind)) return ` (a VPN: ${deviceKind})`;
  if (deviceKind === 'bridge' || device?.startsWith('docker') === true) return ' (a bridge of containers or virtual machines)';
  return '';
}

function parsed(texts: readonly string[]): Cidr[] {
  return texts.flatMap((text) => parseCidr(text) ?? []);
}
