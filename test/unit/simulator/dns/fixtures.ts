import { randomInt } from 'node:crypto';
import { encodeQuery, parseQuery } from '../../../../src/simulator/dns/message.ts';
import type { decodeAnswers, Query, ResourceRecord } from '../../../../src/simulator/dns/message.ts';
import { RecordIndex } from '../../../../src/simulator/dns/records.ts';
import type { EndpointRecord, PortRecord, ServiceRecord } from '../../../../src/simulator/dns/records.ts';

export const tcp = (name: string, port: number): PortRecord => ({ name, protocol: 'TCP', port });
export const at = (address: string, hostname?: string, ready = true): EndpointRecord => ({ addresses: [address], hostname, ready });

export function service(name: string, record: Partial<ServiceRecord>): ServiceRecord {
  return { namespace: 'shop', name, type: 'ClusterIP', clusterIPs: [], ports: [], publishNotReadyAddresses: false, ...record };
}

export const external = (name: string, externalName: string): ServiceRecord => service(name, { type: 'ExternalName', externalName });

/** The records that were put into a real cluster, to see what CoreDNS 1.12 says of them. */
export function shop(): RecordIndex {
  const index = new RecordIndex();
  index.setNamespace('shop');
  index.setNamespace('empty');
  index.setService(service('web', { clusterIPs: ['10.96.77.1'], ports: [tcp('http', 80), { name: 'dns', protocol: 'UDP', port: 53 }] }));
  index.setService(service('dual', { clusterIPs: ['10.96.77.3', 'fd00:96::7703'], ports: [tcp('http', 80), tcp('https', 443)] }));
  index.setService(service('headless', { clusterIPs: ['None'], ports: [tcp('http', 80), tcp('admin', 9000)] }));
  index.setService(service('empty', { clusterIPs: ['None'], ports: [tcp('http', 80)] }));
  index.setService(service('noport', { clusterIPs: ['None'] }));
  index.setService(service('unready', { clusterIPs: ['None'], ports: [tcp('http', 80)] }));
  index.setService(service('publish', { clusterIPs: ['None'], ports: [tcp('http', 80)], publishNotReadyAddresses: true }));
  index.setService(external('alias', 'web.shop.svc.cluster.local'));
  index.setService(external('alias2', 'alias.shop.svc.cluster.local.'));
  index.setService(external('dangling', 'nothing.shop.svc.cluster.local'));
  index.setService(external('loop-a', 'loop-b.shop.svc.cluster.local'));
  index.setService(external('loop-b', 'loop-a.shop.svc.cluster.local'));
  index.setService(external('self', 'self.shop.svc.cluster.local'));
  index.setService(external('outside', 'www.outside.example'));
  index.setService(external('number', '192.0.2.9'));
  const slice = (name: string, owner: string, ports: PortRecord[], endpoints: EndpointRecord[]): void =>
    index.setSlice({ namespace: 'shop', name, service: owner, ports, endpoints });
  slice('web-1', 'web', [tcp('http', 8080), { name: 'dns', protocol: 'UDP', port: 5353 }], [at('10.244.9.1'), at('10.244.9.2', 'named')]);
  slice(
    'headless-4',
    'headless',
    [tcp('http', 8080), tcp('admin', 9001)],
    [at('10.244.9.1', 'pod-0'), at('10.244.9.3', 'shared'), at('10.244.9.4', 'shared'), at('10.244.9.5'), at('10.244.9.6', 'gone', false)],
  );
  slice('headless-6', 'headless', [tcp('http', 8080)], [at('fd00:244::901', 'pod-0'), at('fd00:244::902')]);
  slice('noport-1', 'noport', [], [at('10.244.9.7')]);
  slice('unready-1', 'unready', [tcp('http', 8080)], [at('10.244.9.10', undefined, false)]);
  slice('publish-1', 'publish', [tcp('http', 8080)], [at('10.244.9.11', undefined, false)]);
  return index;
}

/** A record as `name TYPE data`, the way dig shows it. */
export function show(record: ResourceRecord | ReturnType<typeof decodeAnswers>['answers'][number]): string {
  const data = 'address' in record ? record.address : 'domain' in record ? record.domain : 'ns' in record ? record.ns : undefined;
  if (data !== undefined) return `${record.name} ${data}`;
  if ('target' in record) return `${record.name} ${record.priority} ${record.weight} ${record.port} ${record.target}`;
  if ('primary' in record) return `${record.name} SOA ${record.primary}`;
  return `${record.name} ${'data' in record ? String(record.data) : ''}`;
}

export function query(name: string, type: number, transport: 'udp' | 'tcp' = 'udp', edns?: number): Query {
  const bytes = encodeQuery(randomInt(0x1_0000), name, type);
  if (edns !== undefined) bytes.writeUInt16BE(edns, bytes.length - 8);
  const parsed = parseQuery(bytes, transport);
  if (parsed.kind !== 'query') throw new Error('no query');
  return parsed.query;
}

/** The same without its OPT record. */
export function plainQuery(name: string, type: number): Query {
  const { bytes } = query(name, type);
  const plain = Buffer.from(bytes.subarray(0, bytes.length - 11));
  plain.writeUInt16BE(0, 10);
  const parsed = parseQuery(plain, 'udp');
  if (parsed.kind !== 'query') throw new Error('no query');
  return parsed.query;
}
