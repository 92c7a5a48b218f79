import { formatCidr, parseCidr, subtract, type Cidr } from '../../platform/cidr.ts';
import { machineAddresses as addresses, marks, routing } from './addresses.ts';
import type { FamilyNetworks } from './networks.ts';

/** A rule of ip-rule(8), as the journal has it. */
export interface PolicyRule {
  readonly family: 4 | 6;
  readonly priority: number;
  /** `fwmark 0x6b71`, `not fwmark 0x6b72`. */
  readonly selector: string;
  readonly table: number;
}

/** The rules of one family, and so of each. */
export function policyRules(families: readonly (4 | 6)[]): PolicyRule[] {
  const { listenerPriority, listenerTable, networksPriority, networksTable } = routing;
  return families.flatMap((family) => [
    { family, priority: listenerPriority, selector: `fwmark 0x${marks.captured.toString(16)}`, table: listenerTable },
    { family, priority: networksPriority, selector: `not fwmark 0x${marks.direct.toString(16)}`, table: networksTable },
  ]);
}

/**
 * Arguments of ip(8) that add a rule, or remove it. The protocol: systemd-networkd removes the rules of others when it starts, but not the
 * kernel's (ManageForeignRoutingPolicyRules, networkd.conf(5)).
 */
export function ruleArguments(action: 'add' | 'delete', { family, priority, selector, table }: PolicyRule): string[] {
  const words = [`-${family}`, 'rule', action, 'priority', String(priority), ...selector.split(' '), 'lookup', String(table)];
  return action === 'add' ? [...words, 'protocol', 'kernel'] : words;
}

/** Larger than any packet that this machine sends itself: nothing on the way to `lo` is cut in pieces. */
const deviceMtu = 65_535;

/** Lines for `ip -batch -` that set our device up, and the routes that do not depend on what is captured. */
export function deviceBatch(families: readonly (4 | 6)[]): string {
  const { device, own, own6 } = addresses;
  const lines = [`link set ${device} mtu ${deviceMtu} up`, `address replace ${own}/32 dev ${device}`];
  if (families.includes(6)) lines.push(`address replace ${own6}/128 dev ${device} nodad`);
  // A local route leads to `lo` whatever its device is; with that one it is gone.
  for (const family of families)
    lines.push(`route replace local ${family === 4 ? '0.0.0.0/0' : '::/0'} dev ${device} table ${routing.listenerTable}`);
  return `${lines.join('\n')}\n`;
}

/** Routes of the table of networks, by destination: what is never captured keeps the way that it has. */
export function networkRoutes({ capture, never }: FamilyNetworks, families: readonly (4 | 6)[]): Map<string, string> {
  const routes = new Map<string, string>();
  for (const family of families) {
    const source = family === 4 ? addresses.own : addresses.own6;
    for (const network of without(capture[family], never[family])) routes.set(network, `${network} dev ${addresses.device} src ${source}`);
  }
  return routes;
}

function without(networks: readonly string[], holes: readonly string[]): string[] {
  const parse = (texts: readonly string[]): Cidr[] => texts.map(parseCidr).filter((cidr) => cidr !== undefined);
  return subtract(parse(networks), parse(holes)).map(formatCidr);
}

/** Lines for `ip -batch -`: what is to be done before the rules capture the next networks, and what after that. */
export interface RouteChanges {
  readonly before: string;
  readonly after: string;
}

/** What makes the table have `next`, where it has `previous`. */
export function routeChanges(previous: ReadonlyMap<string, string>, next: ReadonlyMap<string, string>): RouteChanges {
  const lines = (action: 'add' | 'delete', of: ReadonlyMap<string, string>, besides: ReadonlyMap<string, string>): string =>
    [...of]
      .filter(([network]) => !besides.has(network))
      .map(([, route]) => `route ${action} ${route} table ${routing.networksTable}\n`)
      .join('');
  return { before: lines('add', next, previous), after: lines('delete', previous, next) };
}
