import { isIPv4, isIPv6 } from 'node:net';
import { isReservedPort, ports as ownPorts } from '../../platform/ports.ts';
import { parseQuantity } from '../../simulator/environment/quantity.ts';

/**
 * The forms of option values. Lists are as redirect.sh takes them (init-container/options.sh): commas or blanks between the entries, a range
 * of ports is `8000-8080`. Each parser throws a {@link WrongValue}.
 */
export class WrongValue extends Error {
  override readonly name = 'WrongValue';
}

const LARGEST_PORT = 65_535;
/**
 * Of one list. More would not fit into a variable of a container (Linux takes 128 KiB), which could then not start; and whoever may create a pod
 * must not be able to keep the webhook busy.
 */
const MOST_ENTRIES = 500;
/** Each captured UDP port has a listener of its own. */
export const MOST_UDP_PORTS = ownPorts.lastListener - ownPorts.firstListener + 1;

/** One of some words. */
export function oneOf<const T extends string>(...words: readonly T[]) {
  return (text: string): T => {
    const found = words.find((word) => word === text);
    if (found === undefined) throw new WrongValue(`"${text}" is not one of ${words.slice(0, -1).join(', ')} and ${words.at(-1)}`);
    return found;
  };
}

const enabledOrDisabled = oneOf('enabled', 'disabled');

export function parseSwitch(text: string): boolean {
  return enabledOrDisabled(text) === 'enabled';
}

/** Ports and ranges, each once; `8080-8080` becomes `8080`. */
export function parsePorts(text: string): readonly string[] {
  return unique(entriesOf(text).map((entry) => parsePortEntry(entry)));
}

/** As {@link parsePorts}, or `*` for all ports. */
export function parsePortsOrAll(text: string): readonly string[] {
  return text === '*' ? ['*'] : parsePorts(text);
}

/** Ports to capture: at least one, and none that is kpeering's own. */
export function parseInboundPorts(text: string): readonly string[] {
  const entries = parsePortsOrAll(text);
  if (entries.length === 0) throw new WrongValue('is empty; give ports (80,8000-8080), or * for all');
  for (const entry of entries) refuseOwn(entry);
  return entries;
}

export function parseUdpPorts(text: string): readonly string[] {
  const entries = parsePorts(text);
  for (const entry of entries) refuseOwn(entry);
  const count = countPorts(entries);
  if (count > MOST_UDP_PORTS) {
    throw new WrongValue(`has ${count} ports; each needs a listener of its own, and there are ${MOST_UDP_PORTS}`);
  }
  return entries;
}

/** Addresses and networks of either family. */
export function parseNetworks(text: string): readonly string[] {
  const entries = entriesOf(text);
  for (const entry of entries) {
    if (!isNetwork(entry)) throw new WrongValue(`"${entry}" is not an address or a network (10.0.0.0/8, fd00::/8)`);
  }
  return unique(entries);
}

/** An amount of CPU: `100m`, `0.5`. */
export function parseCpu(text: string): string {
  const nanos = parseQuantity(text);
  if (nanos === undefined || nanos <= 0n) throw new WrongValue(`"${text}" is not an amount of CPU (100m, 0.5)`);
  return text;
}

/** An amount of memory: `64Mi`. The API server takes fractions of a byte with a warning; here they are somebody's mistake. */
export function parseMemory(text: string): string {
  const nanos = parseQuantity(text);
  if (nanos === undefined || nanos <= 0n || nanos % 1_000_000_000n !== 0n) {
    throw new WrongValue(`"${text}" is not an amount of memory (64Mi, 128M)`);
  }
  return text;
}

function entriesOf(text: string): readonly string[] {
  const entries = text.split(/[, \n\t]+/u).filter((entry) => entry !== '');
  if (entries.length > MOST_ENTRIES) throw new WrongValue(`has ${entries.length} entries, and ${MOST_ENTRIES} at most are taken`);
  return entries;
}

function unique(entries: readonly string[]): readonly string[] {
  return [...new Set(entries)];
}

function parsePortEntry(entry: string): string {
  const { first, last } = boundsOf(entry);
  if (!isPortText(first) || !isPortText(last)) throw new WrongValue(`"${entry}" is not a port or a range of ports (1 to ${LARGEST_PORT})`);
  if (Number(first) > Number(last)) throw new WrongValue(`the range "${entry}" ends before it begins`);
  return first === last ? first : entry;
}

function boundsOf(entry: string): { readonly first: string; readonly last: string } {
  const dash = entry.indexOf('-');
  return dash === -1 ? { first: entry, last: entry } : { first: entry.slice(0, dash), last: entry.slice(dash + 1) };
}

function isPortText(text: string): boolean {
  return /^[1-9]\d{0,4}$/u.test(text) && Number(text) <= LARGEST_PORT;
}

/** How many ports entries have; one that is in several counts once. Without writing them out: anybody who may create pods can ask for this. */
function countPorts(entries: readonly string[]): number {
  let count = 0;
  let counted = 0;
  for (const { first, last } of entries.map((entry) => numbersOf(entry)).toSorted((one, other) => one.first - other.first)) {
    count += Math.max(0, last - Math.max(first - 1, counted));
    counted = Math.max(counted, last);
  }
  return count;
}

function numbersOf(entry: string): { readonly first: number; readonly last: number } {
  const { first, last } = boundsOf(entry);
  return { first: Number(first), last: Number(last) };
}

/** A range may have some of ours in it: those are left out by the rules and by the sidecar. */
function refuseOwn(entry: string): void {
  if (entry === '*') return;
  const { first, last } = numbersOf(entry);
  let port = first;
  while (port <= last && isReservedPort(port)) port++;
  if (port > last) throw new WrongValue(`"${entry}" is kpeering's own (docs/ports.md)`);
}

function isNetwork(entry: string): boolean {
  const [address = '', length, ...more] = entry.split('/');
  if (more.length > 0 || (length !== undefined && !/^(?:0|[1-9]\d{0,2})$/u.test(length))) return false;
  const bits = Number(length ?? 0);
  if (isIPv4(address)) return bits <= 32;
  // Neither a zone nor an IPv4 address at the end: the programs that make the rules need not take those.
  return isIPv6(address) && !/[%.]/u.test(address) && bits <= 128;
}
