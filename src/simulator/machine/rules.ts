import { kpeeringGid } from '../../platform/ports.ts';
import { packetMark } from '../datagrams/addresses.ts';
import { machineAddresses as addresses, marks, tableName } from './addresses.ts';
import type { FamilyNetworks } from './networks.ts';

type PortOfFamily = Readonly<Partial<Record<4 | 6, number>>>;

/** Where the listeners are, by family, as the kernel has chosen. A machine without IPv6 has none of that. */
export interface ListenerPorts {
  /** At 127.0.0.1 and ::1, TCP and UDP. */
  readonly local: PortOfFamily;
  /** At our device's addresses, TCP and UDP. */
  readonly containers: PortOfFamily;
  /** There, too, for questions about names. */
  readonly containerNames: PortOfFamily;
}

/** Not `!= unicast`: the first address of a network of IPv6 counts as anycast (RFC 4291, section 2.6.1), and may be a Service's. */
const notOthers = 'fib daddr type { local, broadcast, multicast } return';
const begin = 'tcp flags & (fin | syn | rst | ack) == syn';
const table = `inet ${tableName}`;

/**
 * The rules, as statements for an `nft -i` whose table they become (nft(8), `flags owner`):
 *
 * - this machine's TCP is redirected to loopback, connection by connection: only its first packet, so that one that was open before stays what it was;
 * - this machine's UDP gets a mark, by which it is routed to `lo`, and there to the transparent listener (kernel: Documentation/networking/tproxy.rst);
 * - what containers send comes from a bridge: it is translated to our device's address, by conntrack, which works with and without
 *   `bridge-nf-call-iptables`; so do their names. Nobody reaches those listeners in another way;
 * - kpctl's own group, and what is never captured, comes first.
 *
 * What is captured is in sets, which change while connections are open: conntrack remembers what a connection began as.
 */
export function captureRules(ports: ListenerPorts): string[] {
  const rule = (chain: string, text: string): string => `add rule ${table} ${chain} ${text}`;
  const chain = (name: string, type: string, hook: string, priority: string): string =>
    `add chain ${table} ${name} { type ${type} hook ${hook} priority ${priority}; policy accept; }`;
  const families = allFamilies.filter(({ family }) => ports.local[family] !== undefined);
  const never = (name: string): string[] => [rule(name, 'ip daddr @never4 return'), rule(name, 'ip6 daddr @never6 return')];
  return [
    `add table ${table} { flags owner; }`,
    ...setNames.map((name) => `add set ${table} ${name} { type ipv${name.endsWith('4') ? 4 : 6}_addr; flags interval; auto-merge; }`),

    // Answers that we make: conntrack would take one for the beginning of something.
    chain('answers', 'filter', 'output', 'raw'),
    rule('answers', `meta mark ${packetMark} notrack`),

    chain('calls', 'nat', 'output', '-101'),
    rule('calls', `meta skgid ${kpeeringGid} return`),
    rule('calls', notOthers),
    ...never('calls'),
    ...families.map(({ ip, family }) => rule('calls', `${ip} daddr @capture${family} ${begin} redirect to :${ports.local[family]}`)),

    `add chain ${table} marked`,
    rule('marked', `meta skgid ${kpeeringGid} meta mark set ${marks.direct} return`),
    rule('marked', `meta l4proto udp meta mark set ${marks.captured}`),
    // A connection that was there before: it goes on where it began.
    rule('marked', `tcp flags & (fin | syn | rst | ack) != syn ct status & dnat == 0 meta mark set ${marks.direct}`),
    chain('datagrams', 'route', 'output', 'mangle'),
    rule('datagrams', `meta mark ${packetMark} return`),
    rule('datagrams', notOthers),
    ...never('datagrams'),
    rule('datagrams', 'ip daddr @capture4 jump marked'),
    rule('datagrams', 'ip6 daddr @capture6 jump marked'),

    chain('arrivals', 'filter', 'prerouting', 'mangle'),
    rule('arrivals', 'iifname != "lo" return'),
    ...families.map(({ ip, family, loopback }) =>
      rule(
        'arrivals',
        `meta mark ${marks.captured} meta nfproto ipv${family} meta l4proto udp tproxy ${ip} to ${loopback}:${ports.local[family]} accept`,
      ),
    ),

    // What passes through the machine and is not captured keeps its way: other than from bridges, neither TCP nor UDP, or older than we are.
    chain('passing', 'filter', 'prerouting', 'mangle'),
    rule('passing', 'iifname "lo" return'),
    rule('passing', 'ct status dnat return'),
    rule('passing', `meta iifkind "bridge" ${begin} return`),
    rule('passing', 'meta iifkind "bridge" meta l4proto udp return'),
    ...families.map(({ ip, family }) => rule('passing', `${ip} daddr @capture${family} meta mark set ${marks.direct}`)),

    // Kpctl's own calls were given the device's address before the mark gave them their way.
    chain('direct', 'nat', 'postrouting', '99'),
    ...families.map(({ ip, own }) =>
      rule('direct', `meta mark ${marks.direct} ${ip} saddr ${own.replace(/[[\]]/gu, '')} oifname != "${addresses.device}" masquerade`),
    ),

    ...containerRules(ports, families, { rule, chain, never }),

    // Neither TCP nor UDP: said at once. The rules before this one have changed the way, of which this hook is not told.
    chain('rest', 'filter', 'output', 'filter'),
    rule('rest', `oifname != "${addresses.device}" return`),
    rule('rest', `meta mark { ${marks.captured}, ${marks.direct}, ${packetMark} } return`),
    rule('rest', 'ct status dnat return'),
    rule('rest', 'meta l4proto tcp reject with tcp reset'),
    rule('rest', 'reject with icmpx admin-prohibited'),
  ];
}

interface Writers {
  readonly rule: (chain: string, text: string) => string;
  readonly chain: (name: string, type: string, hook: string, priority: string) => string;
  readonly never: (chain: string) => string[];
}

function containerRules(ports: ListenerPorts, families: readonly FamilyWords[], { rule, chain, never }: Writers): string[] {
  return [
    chain('containers', 'nat', 'prerouting', '-101'),
    rule('containers', 'meta iifkind != "bridge" return'),
    // From one container to another on the same bridge.
    rule('containers', 'fib daddr . iif oif exists return'),
    // The machine's own servers; but where it has none for names, as on a container's gateway, we are it.
    rule('containers', 'fib daddr type local meta l4proto { tcp, udp } socket wildcard 0 return'),
    rule('containers', 'fib daddr type local meta l4proto { tcp, udp } socket wildcard 1 return'),
    ...families.map(({ ip, family, own }) =>
      rule(
        'containers',
        `meta nfproto ipv${family} meta l4proto { tcp, udp } th dport 53 dnat ${ip} to ${own}:${ports.containerNames[family]}`,
      ),
    ),
    rule('containers', notOthers),
    ...never('containers'),
    ...families.flatMap(({ ip, family, own }) => [
      rule('containers', `${ip} daddr @capture${family} ${begin} dnat ${ip} to ${own}:${ports.containers[family]}`),
      rule('containers', `${ip} daddr @capture${family} meta l4proto udp dnat ${ip} to ${own}:${ports.containers[family]}`),
    ]),

    chain('guard', 'filter', 'input', 'filter'),
    rule('guard', 'iifname "lo" return'),
    rule('guard', 'ct status dnat return'),
    // To what kpctl itself has sent.
    rule('guard', 'ct direction reply return'),
    rule('guard', `ip daddr ${addresses.own} drop`),
    rule('guard', `ip6 daddr ${addresses.own6} drop`),
  ];
}

const allFamilies = [
  { family: 4, ip: 'ip', loopback: '127.0.0.1', own: addresses.own },
  { family: 6, ip: 'ip6', loopback: '[::1]', own: `[${addresses.own6}]` },
] as const satisfies readonly object[];
type FamilyWords = (typeof allFamilies)[number];

const setNames = ['capture4', 'never4', 'capture6', 'never6'] as const;

/** The statements that put other networks into the sets; one transaction. */
export function setStatements({ capture, never }: FamilyNetworks): string[] {
  const elements = { capture4: capture[4], never4: never[4], capture6: capture[6], never6: never[6] };
  return setNames.flatMap((name) => [
    `flush set ${table} ${name}`,
    ...(elements[name].length === 0 ? [] : [`add element ${table} ${name} { ${elements[name].join(', ')} }`]),
  ]);
}
