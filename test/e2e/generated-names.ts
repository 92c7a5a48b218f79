import { reverseName } from '../../src/simulator/dns/reverse-names.ts';

/** What is asked: a name, and a type by its number. */
export interface AskedName {
  readonly name: string;
  readonly type: number;
}

const TYPES = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, MX: 15, TXT: 16, AAAA: 28, SRV: 33, HTTPS: 65, unknown: 65_280 } as const;
const EACH = 40;

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly [member: string]: unknown;
}

interface Kind {
  readonly count: number;
  readonly make: (index: number, namespace: string) => readonly Manifest[];
}

/** Of each kind of Service, with the slices by hand of those that have any. 200 objects. */
const kinds: Readonly<Record<string, Kind>> = {
  // with and without names of ports, and with both protocols at one port
  cluster: {
    count: EACH,
    make: (index) => [
      service(`cluster-${index}`, {
        ports: [
          { name: 'http', port: 80, protocol: 'TCP' },
          ...(index % 2 === 0 ? [{ name: 'dns', port: 53, protocol: 'UDP' }] : []),
          ...(index % 3 === 0 ? [{ name: 'dns-tcp', port: 53, protocol: 'TCP' }] : []),
        ],
      }),
    ],
  },
  unnamed: { count: 20, make: (index) => [service(`unnamed-${index}`, { ports: [{ port: 8080 + index, protocol: 'TCP' }] })] },
  // endpoints of a Service that has an address of its own
  backed: {
    count: 20,
    make: (index) => [
      service(`backed-${index}`, { ports: [{ name: 'http', port: 80, targetPort: 8080 }] }),
      slice(`backed-${index}`, 'IPv4', [endpoint(`192.0.2.${index + 1}`), endpoint(`192.0.2.${index + 101}`, { hostname: 'named' })]),
    ],
  },
  headless: {
    count: 20,
    make: (index) => [
      service(`headless-${index}`, { clusterIP: 'None', ports: [{ name: 'http', port: 80 }], publishNotReadyAddresses: publishes(index) }),
      slice(`headless-${index}`, 'IPv4', endpointsOf(index, publishes(index))),
    ],
  },
  // addresses of the other family, and no ports at all
  six: {
    count: 10,
    make: (index) => [
      service(`six-${index}`, { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] }),
      slice(`six-${index}`, 'IPv6', [
        endpoint(`2001:db8::${(index + 1).toString(16)}`),
        endpoint(`2001:db8:1::${index + 1}`, { hostname: 'v6' }),
      ]),
    ],
  },
  external: {
    count: 40,
    make: (index, namespace) => {
      const targets = [
        `cluster-${index}.${namespace}.svc.cluster.local`,
        `headless-${index % 20}.${namespace}.svc.cluster.local`,
        `external-${index - 1}.${namespace}.svc.cluster.local`,
        `nothing-${index}.${namespace}.svc.cluster.local`,
        'outside.example',
      ];
      return [service(`external-${index}`, { type: 'ExternalName', externalName: targets[index % targets.length] })];
    },
  },
};

const publishes = (index: number): boolean => index % 5 === 4;

/** Slices say that an endpoint is ready, too, where its Service publishes those that are not: so do the cluster's own controllers. */
function endpointsOf(index: number, published: boolean): object[] {
  const several = Array.from({ length: 1 + (index % 5) * 4 }, (_, each) => endpoint(`198.51.${index}.${each + 1}`));
  return [
    ...several,
    endpoint(`198.51.${index}.101`, { hostname: 'first' }),
    endpoint(`198.51.${index}.102`, { hostname: 'shared' }),
    endpoint(`198.51.${index}.103`, { hostname: 'shared' }),
    endpoint(`198.51.${index}.104`, { conditions: { ready: published, serving: false } }),
  ];
}

/** A namespace's Services and EndpointSlices, as manifests. */
export function generatedObjects(namespace: string): readonly Manifest[] {
  const objects = Object.values(kinds).flatMap(({ count, make }) =>
    Array.from({ length: count }, (_, index) => make(index, namespace)).flat(),
  );
  return objects;
}

/**
 * The cluster's own name server by another port: what a command of `kpctl run` sends to port 53 is answered by kpctl, whatever its destination. The
 * addresses are those of its pods.
 */
export function clusterDnsByOtherPort(addresses: readonly string[], port: number): readonly Manifest[] {
  const ports = (number: number): object[] => ['UDP', 'TCP'].map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: number }));
  const made = slice(
    CLUSTER_DNS,
    'IPv4',
    addresses.map((address) => endpoint(address)),
  );
  return [service(CLUSTER_DNS, { ports: ports(port) }), { ...made, ports: ports(53) }];
}

/** The name of its Service. */
export const CLUSTER_DNS = 'dns-of-the-cluster';

/** The addresses of the slices: all, or those that a name of the namespace stands for, which who may see nothing learns by asking for it. */
export function endpointAddresses(namespace: string, which: 'all' | 'named'): readonly string[] {
  return generatedObjects(namespace).flatMap(({ metadata, endpoints }) => {
    if (!Array.isArray(endpoints) || (which === 'named' && metadata.name.startsWith('backed'))) return [];
    const listed: readonly { readonly addresses: readonly string[]; readonly conditions: { readonly ready: boolean } }[] = endpoints;
    return listed.filter(({ conditions }) => which === 'all' || conditions.ready).flatMap((one) => one.addresses);
  });
}

/** All that is asked of one namespace, and the names of these addresses. */
export function generatedQuestions(namespace: string, addresses: readonly string[]): readonly AskedName[] {
  const zone = 'cluster.local';
  const names = Object.entries(kinds).flatMap(([kind, { count }]) =>
    Array.from({ length: count }, (_, index) => `${kind}-${index}.${namespace}.svc.${zone}`),
  );
  const questions: AskedName[] = names.flatMap((name) => [
    ...[TYPES.A, TYPES.AAAA, TYPES.SRV].map((type) => ({ name, type })),
    { name: `_http._tcp.${name}`, type: TYPES.SRV },
    { name: `_dns._udp.${name}`, type: TYPES.SRV },
  ]);
  for (const name of names.filter((_, index) => index % 10 === 0)) {
    for (const type of [TYPES.NS, TYPES.CNAME, TYPES.SOA, TYPES.MX, TYPES.TXT, TYPES.HTTPS, TYPES.unknown]) questions.push({ name, type });
    for (const host of ['first', 'shared', 'named', 'v6', 'nobody', '192-0-2-1', '198-51-0-1', '2001-db8--1'])
      questions.push({ name: `${host}.${name}`, type: TYPES.A }, { name: `${host}.${name}`, type: TYPES.AAAA });
    questions.push({ name: name.toUpperCase(), type: TYPES.A }, { name: `_none._tcp.${name}`, type: TYPES.SRV });
    questions.push({ name: `_http._tcp.${name}`, type: TYPES.A }, { name: `a.b.c.${name}`, type: TYPES.A });
  }
  for (const address of addresses) questions.push({ name: reverseName(address), type: TYPES.PTR });
  for (const name of [
    `nothing.${namespace}.svc.${zone}`,
    `www.example.com.svc.${zone}`,
    `cluster-0.no-such-namespace.svc.${zone}`,
    `no-such-namespace.svc.${zone}`,
    `${namespace}.svc.${zone}`,
    `svc.${zone}`,
    `pod.${zone}`,
    `${namespace}.pod.${zone}`,
    `10-1-2-3.${namespace}.pod.${zone}`,
    `10-1-2-3.no-such-namespace.pod.${zone}`,
    `not-an-address.${namespace}.pod.${zone}`,
    `www.example.com.${zone}`,
    `ns.dns.${zone}`,
  ])
    for (const type of [TYPES.A, TYPES.AAAA]) questions.push({ name, type });
  return [...questions, { name: `dns-version.${zone}`, type: TYPES.TXT }, { name: zone, type: TYPES.SOA }, { name: zone, type: TYPES.NS }];
}

function service(name: string, spec: object): Manifest {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec };
}

function slice(owner: string, addressType: string, endpoints: readonly object[]): Manifest {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${owner}-made`, labels: { 'kubernetes.io/service-name': owner } },
    addressType,
    endpoints,
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}

function endpoint(address: string, more: object = {}): object {
  return { addresses: [address], conditions: { ready: true }, ...more };
}
