import { packetMark } from '../datagrams/addresses.ts';
import { capturePort, privateNetworkAddresses as addresses } from './addresses.ts';

export interface RuleOptions {
  /** Whether IPv6 destinations are captured; if not, IPv6 has no route and fails at once. */
  readonly ipv6: boolean;
}

/**
 * The device's MTU: the largest datagram, 65,507 bytes, goes in one piece with IPv6's header, too (65,555; lo has 65,536 by default). Fragments that are
 * not tracked are not put together before TPROXY sees them.
 */
const wholeDatagrams = 65_575;

/** Name of the table with the rules inside the private network. */
export const tableName = 'kpeering';

/** Commands for `ip -batch -` (ip(8)) that bring the private network's only device up and route everything to it. */
export function interfaceBatch({ ipv6 }: RuleOptions): string {
  const lines = [
    `link set lo mtu ${wholeDatagrams} up`,
    ...[addresses.own, addresses.capture, addresses.dns].map((address) => `address add ${address}/32 dev lo`),
    // Without `src` a connection's source would equal its destination, and its answers would be captured again.
    `route add local default dev lo src ${addresses.own}`,
  ];
  if (ipv6) {
    lines.push(
      ...[addresses.own6, addresses.capture6].map((address) => `address add ${address}/128 dev lo nodad`),
      `route add local ::/0 dev lo src ${addresses.own6}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/**
 * The ruleset for `nft -f -` (nft(8)). TCP and UDP go to the transparent listeners with their destination intact (kernel:
 * Documentation/networking/tproxy.rst), unless they are for an address of loopback on which somebody inside listens. Answers to datagrams are
 * packets of our own, known by their mark. Names are the exception: datagrams to port 53 are translated to the resolver's own socket, and only they are
 * tracked.
 */
export function captureRules({ ipv6 }: RuleOptions): string {
  const capture6 = ipv6
    ? `
    meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [${addresses.capture6}]:${capturePort} accept
    meta nfproto ipv6 meta l4proto udp tproxy ip6 to [${addresses.capture6}]:${capturePort} accept
    icmpv6 type echo-request reject with icmpv6 admin-prohibited`
    : '';
  return `table inet ${tableName} {
  chain capture {
    type filter hook prerouting priority mangle; policy accept;
    iifname != "lo" return
    meta mark ${packetMark} return
    ip saddr ${addresses.entry} return
    ip daddr { ${network4}, 224.0.0.0/4, 255.255.255.255 } return
    ip6 daddr { ::1, fd00:198:18::/64, ff00::/8 } return
    ip daddr 127.0.0.0/8 meta l4proto { tcp, udp } socket wildcard 0 return
    ip daddr 127.0.0.0/8 meta l4proto { tcp, udp } socket wildcard 1 return
    meta nfproto ipv4 tcp dport 53 tproxy ip to ${addresses.dns}:53 accept
    meta nfproto ipv4 meta l4proto tcp tproxy ip to ${addresses.capture}:${capturePort} accept
    meta nfproto ipv4 meta l4proto udp tproxy ip to ${addresses.capture}:${capturePort} accept
    ip daddr 127.0.0.0/8 return
    icmp type echo-request reject with icmp admin-prohibited${capture6}
  }
  chain untracked {
    type filter hook output priority raw; policy accept;
    meta nfproto ipv4 udp dport 53 return
    meta nfproto ipv4 udp sport 53 return
    notrack
  }
  chain names {
    type nat hook output priority -100; policy accept;
    ip daddr != ${network4} udp dport 53 dnat ip to ${addresses.dns}
  }
}
`;
}

const network4 = '198.18.0.0/24';
