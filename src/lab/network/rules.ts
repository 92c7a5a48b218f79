import { labAddresses as addresses } from './addresses.ts';

/** One port of a Service, with the endpoints that answer it now. */
export interface ServicePortRule {
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly endpoints: readonly { readonly address: string; readonly port: number }[];
}

/**
 * The node's whole ruleset for one `nft -f -`, which is one transaction (nft(8)). Services are translated in turn to
 * their endpoints, for pods (prerouting) and for the node itself (output); what of the Service range is not
 * translated is refused at once, as kube-proxy does for a Service without endpoints. A pod that calls its own Service
 * comes back to itself with the node's address (hairpin). The laptop's host reaches the API server and nothing else.
 */
export function nodeRules(ports: readonly ServicePortRule[]): string {
  const translations = ports
    .filter(({ endpoints }) => endpoints.length > 0)
    .map(translation)
    .join('\n    ');
  const backends = [...new Set(ports.flatMap(({ endpoints }) => endpoints.map(({ address }) => address)))];
  const hairpin =
    backends.length === 0
      ? ''
      : `ct status dnat ip saddr . ip daddr { ${backends.map((address) => `${address} . ${address}`).join(', ')} } masquerade`;
  return `table ip lab {}
delete table ip lab
table ip lab {
  chain services {
    ${translations}
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${addresses.serviceRange} jump services
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr ${addresses.serviceRange} jump services
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ${hairpin}
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "laptop" ip daddr ${addresses.node} tcp dport ${addresses.apiPort} accept
    iifname "laptop" ct state established,related accept
    iifname "laptop" icmp type echo-request ip daddr ${addresses.node} accept
    iifname "laptop" reject with icmp admin-prohibited
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname "laptop" reject with icmp admin-prohibited
    oifname "laptop" drop
    ip daddr ${addresses.serviceRange} ${refusal}
  }
  chain local {
    type filter hook output priority filter; policy accept;
    oifname "pods" ip daddr ${addresses.serviceRange} ${refusal}
  }
}
`;
}

const refusal = 'reject with icmp port-unreachable';

function translation({ address, port, protocol, endpoints }: ServicePortRule): string {
  const match = `ip daddr ${address} ${protocol} dport ${port}`;
  const [only] = endpoints;
  if (endpoints.length === 1 && only !== undefined) return `${match} dnat to ${only.address}:${only.port}`;
  const map = endpoints.map((endpoint, index) => `${index} : ${endpoint.address} . ${endpoint.port}`).join(', ');
  return `${match} dnat to numgen inc mod ${endpoints.length} map { ${map} }`;
}
