import { watchNetworks, type ClusterNetworks, type KnownAddresses, type NetworksOptions } from '../cluster/networks.ts';
import type { RecordSource } from './dns/records.ts';

/** Which destinations are the cluster's. */
export type ClusterAddresses = ClusterNetworks;

export interface ClusterAddressesOptions extends Omit<NetworksOptions, 'known'> {
  readonly records: RecordSource & { onChange?(listener: () => void): () => void };
}

/** The cluster's networks, with the Services and endpoints of the resolver's records, so that nothing is watched twice. */
export async function watchClusterAddresses({ records, ...options }: ClusterAddressesOptions): Promise<ClusterAddresses> {
  return await watchNetworks({ ...options, known: knownAddresses(records) });
}

/**
 * The addresses in the records. The endpoints of `default/kubernetes` are not among them: they are the API server's own addresses, outside the
 * cluster's network, and what reached them before kpctl must reach them as before.
 */
function knownAddresses(records: ClusterAddressesOptions['records']): KnownAddresses {
  const isEndpoint = (address: string): boolean => {
    for (const { namespace, service } of records.slicesAt(address)) if (namespace !== 'default' || service !== 'kubernetes') return true;
    return false;
  };
  const onChange = records.onChange?.bind(records);
  return {
    services: () => records.addresses().services,
    *endpoints() {
      for (const address of records.addresses().slices) if (isEndpoint(address)) yield address;
    },
    has(address) {
      for (const _ of records.servicesAt(address)) return true;
      return isEndpoint(address);
    },
    ...(onChange !== undefined && { onChange }),
  };
}
