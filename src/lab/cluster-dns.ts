import type { Logger } from '../platform/log.ts';
import { endpointSliceRecord, serviceRecord } from '../simulator/dns/cluster-records.ts';
import { RecordIndex } from '../simulator/dns/records.ts';
import { createResolver } from '../simulator/dns/resolver.ts';
import { startDnsServer, type DnsServer } from '../simulator/dns/server.ts';
import { createZone } from '../simulator/dns/zone.ts';
import { labAddresses } from './network/addresses.ts';
import type { Store } from './objects/store.ts';

/** The cluster's DNS at the address of kube-dns, answered from the lab's own objects. Names outside are refused. */
export async function startClusterDns(store: Store, log: Logger): Promise<DnsServer> {
  const records = new RecordIndex();
  for (const { metadata } of store.namespaces.list()) records.setNamespace(metadata.name);
  for (const service of store.services.list()) records.setService(serviceRecord(service));
  for (const slice of store.endpointSlices.list()) {
    const record = endpointSliceRecord(slice);
    if (record !== undefined) records.setSlice(record);
  }
  store.namespaces.onChange(({ type, object }) =>
    type === 'DELETED' ? records.deleteNamespace(object.metadata.name) : records.setNamespace(object.metadata.name),
  );
  store.services.onChange(({ type, object }) =>
    type === 'DELETED'
      ? records.deleteService(object.metadata.namespace ?? '', object.metadata.name)
      : records.setService(serviceRecord(object)),
  );
  store.endpointSlices.onChange(({ type, object }) => {
    const record = type === 'DELETED' ? undefined : endpointSliceRecord(object);
    if (record === undefined) records.deleteSlice(object.metadata.namespace ?? '', object.metadata.name);
    else records.setSlice(record);
  });
  const zone = createZone({ records, nameserverAddresses: [labAddresses.dns] });
  const where = { address: labAddresses.dns, port: 53 };
  return await startDnsServer({ udp: [where], tcp: [where], resolve: createResolver({ zone, records, log }), log });
}
