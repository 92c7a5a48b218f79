import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Endpoint } from '../tunnel/types.ts';

/**
 * What the init container has done, as it tells the sidecar: JSON in the file `$KPEERING_RULES_FILE`, written by `redirect.sh` after its
 * rules are in place, on a volume that both containers share.
 *
 * `tcp` and `udp` map each captured entry (`8080`, `8000-8080`, or `*` for all ports; UDP has single ports only) to the port of the listener
 * to which the rules send it. In redirect mode every entry's listener is `ports.inbound`, and `udp` is empty.
 */
export interface Rules {
  readonly version: 1;
  readonly mode: 'redirect' | 'tproxy';
  /** Why this mode: `asked for`, `the kernel takes tproxy rules`, `nft refused a tproxy rule: ...`. */
  readonly reason: string;
  /** `nft`, `iptables-nft`, `iptables-legacy`, `iptables`. */
  readonly backend: string;
  readonly tcp: Readonly<Record<string, number>>;
  readonly udp: Readonly<Record<string, number>>;
  /** Entries that are never captured inbound, by either protocol. */
  readonly except: readonly string[];
  /** Captured outbound TCP ports: entries or `*`; empty: none. */
  readonly outbound: readonly string[];
  /** Entries of outbound ports that are not captured all the same. */
  readonly exceptOutbound: readonly string[];
  /** Networks (`10.0.0.0/8`) and addresses: only calls to these are captured; empty: to all. */
  readonly networks: readonly string[];
  /** Networks and addresses to which no call is captured. */
  readonly exceptNetworks: readonly string[];
  /** Whether the pod's DNS is sent to us. */
  readonly dns: boolean;
  /** Whether the app may see the caller's own address for flows that pass through us. */
  readonly keepSource: boolean;
  /** Which of the two families is captured. */
  readonly families: readonly ('ipv4' | 'ipv6')[];
  /** Probe aliases: alias port to the app's port. */
  readonly aliases: Readonly<Record<string, number>>;
}

/** Where a captured inbound port is delivered. */
export type CapturedPort = { readonly entry: string; readonly listener: Endpoint['port'] };

/** The entry that means every port. */
export const ALL_PORTS = '*';

/** What a sidecar without a rules file takes for granted: what `redirect.sh` did before it wrote one. */
export function assumedRules(inbound: number, reason: string): Rules {
  return {
    version: 1,
    mode: 'redirect',
    reason,
    backend: 'unknown',
    tcp: { [ALL_PORTS]: inbound },
    udp: {},
    except: [],
    outbound: [],
    exceptOutbound: [],
    networks: [],
    exceptNetworks: [],
    dns: false,
    keepSource: false,
    families: ['ipv4', 'ipv6'],
    aliases: {},
  };
}

const DNS_PORT = 53;

/**
 * Reads the JSON of a rules file. By hand and not by zod: an idle sidecar does not load it. Throws an Error that says what is
 * wrong; members that are not known are ignored.
 */
export function parseRules(text: string): Rules {
  const value: unknown = JSON.parse(text);
  if (!isRecord(value)) throw new Error('it is no object');
  if (value['version'] !== 1) throw new Error(`version ${JSON.stringify(value['version'])} is not known; this is kpeering's version 1`);
  const { mode } = value;
  if (mode !== 'redirect' && mode !== 'tproxy') throw new Error(`mode ${JSON.stringify(mode)} is not known`);
  return {
    version: 1,
    mode,
    reason: textOf(value, 'reason'),
    backend: textOf(value, 'backend'),
    tcp: ports(value, 'tcp', isEntry),
    udp: ports(value, 'udp', isEntry),
    except: entries(value, 'except'),
    outbound: entries(value, 'outbound'),
    exceptOutbound: value['exceptOutbound'] === undefined ? [] : entries(value, 'exceptOutbound'),
    networks: networks(value, 'networks'),
    exceptNetworks: networks(value, 'exceptNetworks'),
    dns: flag(value, 'dns'),
    keepSource: flag(value, 'keepSource'),
    families: list(value, 'families').filter((family) => family === 'ipv4' || family === 'ipv6'),
    aliases: ports(value, 'aliases', isPortText),
  };
}

/**
 * The listener of the captured inbound `port`; undefined: it is not captured. Of several entries the one with the lowest listener
 * counts: its rule comes first. (The order of an object's members is not the text's.)
 */
export function capturedPort(rules: Rules, protocol: 'tcp' | 'udp', port: number): CapturedPort | undefined {
  if (rules.except.some((entry) => matchesEntry(entry, port))) return undefined;
  const matching = Object.entries(rules[protocol]).filter(([entry]) => matchesEntry(entry, port));
  const [first] = matching.sort(([, one], [, other]) => one - other);
  return first === undefined ? undefined : { entry: first[0], listener: first[1] };
}

/** Whether the pod's own connections to `port` of another pod or machine come here. */
export function capturesOutbound(rules: Rules, { address, port }: Endpoint): boolean {
  const matches = (entry: string): boolean => matchesEntry(entry, port);
  if (!rules.outbound.some(matches) || rules.exceptOutbound.some(matches)) return false;
  // Those go to our resolver.
  if (rules.dns && port === DNS_PORT) return false;
  if (contain(rules.exceptNetworks, address)) return false;
  return rules.networks.length === 0 || contain(rules.networks, address);
}

function contain(given: readonly string[], address: string): boolean {
  const six = isIPv6(address);
  const list = new BlockList();
  for (const network of given) {
    const [base = '', prefix] = network.split('/');
    // Of one family only: to BlockList an IPv4 address is in `::/0`, too.
    if (isIPv6(base) === six) list.addSubnet(base, prefix === undefined ? (six ? 128 : 32) : Number(prefix), six ? 'ipv6' : 'ipv4');
  }
  return list.check(address, six ? 'ipv6' : 'ipv4');
}

/** Whether `port` is one of `8080`, `8000-8080` or `*`. */
export function matchesEntry(entry: string, port: number): boolean {
  if (entry === ALL_PORTS) return true;
  const [first = '', last = first] = entry.split('-', 2);
  return Number(first) <= port && port <= Number(last);
}

type Json = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

function isPortText(text: string): boolean {
  return /^[1-9]\d{0,4}$/u.test(text) && isPort(Number(text));
}

function isEntry(text: string): boolean {
  const [first = '', last = first, ...more] = text.split('-');
  return text === ALL_PORTS || (more.length === 0 && isPortText(first) && isPortText(last) && Number(first) <= Number(last));
}

function textOf(from: Json, name: string): string {
  const value = from[name];
  if (typeof value !== 'string') throw new Error(`"${name}" is no text`);
  return value;
}

function flag(from: Json, name: string): boolean {
  const value = from[name];
  if (typeof value !== 'boolean') throw new Error(`"${name}" is neither true nor false`);
  return value;
}

function list(from: Json, name: string): readonly unknown[] {
  const value = from[name];
  if (!Array.isArray(value)) throw new Error(`"${name}" is no list`);
  return value;
}

function entries(from: Json, name: string): readonly string[] {
  return list(from, name).map((entry) => {
    if (typeof entry !== 'string' || !isEntry(entry)) throw new Error(`"${name}" has ${JSON.stringify(entry)}, which is no port`);
    return entry;
  });
}

/** Absent in files of before they were told. */
function networks(from: Json, name: string): readonly string[] {
  if (from[name] === undefined) return [];
  return list(from, name).map((network) => {
    const [, base = '', prefix = '0'] = (typeof network === 'string' ? /^([^/]+)(?:\/(\d{1,3}))?$/u.exec(network) : null) ?? [];
    const family = isIP(base);
    if (typeof network !== 'string' || family === 0 || Number(prefix) > (family === 6 ? 128 : 32))
      throw new Error(`"${name}" has ${JSON.stringify(network)}, which is no network`);
    return network;
  });
}

function ports(from: Json, name: string, isKey: (key: string) => boolean): Readonly<Record<string, number>> {
  const value = from[name];
  if (!isRecord(value)) throw new Error(`"${name}" is no object`);
  const found: Record<string, number> = {};
  for (const [key, port] of Object.entries(value)) {
    if (!isKey(key) || !isPort(port)) throw new Error(`"${name}" has ${JSON.stringify(key)}: ${JSON.stringify(port)}, which are no ports`);
    found[key] = port;
  }
  return found;
}
