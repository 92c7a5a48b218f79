import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { watchClusterAddresses, type ClusterAddresses } from '../../simulator/addresses.ts';
import {
  createResolver,
  createUpstream,
  createZone,
  watchClusterRecords,
  type ClusterRecords,
  type Resolve,
} from '../../simulator/dns/index.ts';

/** What a command in the cluster must know of it: its names and its addresses. */
export interface ClusterNames extends Closeable {
  readonly resolve: Resolve;
  readonly addresses: ClusterAddresses;
}

/** Watches what the names and addresses come from; resolves when the first lists are there. */
export async function watchClusterNames(
  cluster: Cluster,
  namespace: string,
  log: Logger,
  options: AbortOptions = {},
): Promise<ClusterNames> {
  const records: ClusterRecords = await watchClusterRecords({ cluster, namespace, log }, options);
  try {
    const addresses = await watchClusterAddresses({ cluster, records, namespace, log });
    const resolve = createResolver({ zone: createZone({ records }), records, upstream: createUpstream(), namespace, log });
    const close = async (): Promise<void> => {
      await Promise.all([addresses.close(), records.close()]);
    };
    return { resolve, addresses, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await records.close();
    throw error;
  }
}
