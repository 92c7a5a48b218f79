import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { watchClusterAddresses, type ClusterAddresses } from '../../simulator/addresses.ts';
import {
  clusterDomain,
  createResolver,
  createTunnelUpstream,
  createUpstream,
  createZone,
  watchClusterRecords,
  type AddressTranslation,
  type ClusterRecords,
  type Resolve,
  type Upstream,
} from '../../simulator/dns/index.ts';
import type { Session } from '../../tunnel/index.ts';
import { AskedNames, namesFrom, type NamesOf } from '../flows/destination-names.ts';

/** How names are answered, once there is a session. */
export interface ResolverParts {
  /** The cluster's domain, `cluster.local` where the far end does not tell another. */
  readonly domain: string;
  /** The session through which the cluster's own name servers are asked for what may not be watched. */
  readonly session: (options: AbortOptions) => Promise<Session>;
  /** The machine's own name servers. Default: those of /etc/resolv.conf. */
  readonly upstream?: Upstream;
  readonly addresses?: AddressTranslation;
  /** Told of an address that only the cluster's own DNS knows, after it has been learnt; waited for before it is answered. */
  readonly onLearnt?: (address: string) => Promise<void>;
}

/** What this machine must know of the cluster: its names and its addresses. */
export interface ClusterNames extends Closeable {
  readonly addresses: ClusterAddresses;
  /** What destinations are called: by the records, and by what was asked of a resolver that was made here. */
  readonly namesOf: NamesOf;
  resolver(parts: ResolverParts): Resolve;
}

/** Watches what the names and addresses come from; resolves when the first lists are there. */
export async function watchClusterNames(
  cluster: Cluster,
  namespace: string,
  log: Logger,
  options: AbortOptions = {},
): Promise<ClusterNames> {
  const records: ClusterRecords = await watchClusterRecords({ cluster, namespace, elsewhere: true, log }, options);
  try {
    const asked = new AskedNames();
    const addresses = await watchClusterAddresses({ cluster, records, namespace, log });
    const close = async (): Promise<void> => {
      await Promise.all([addresses.close(), records.close()]);
    };
    const resolver = ({ domain, session, upstream, addresses: translation, onLearnt }: ResolverParts): Resolve =>
      asked.listenTo(
        createResolver({
          zone: createZone({ records, domain }),
          records,
          upstream: upstream ?? createUpstream(),
          elsewhere: createTunnelUpstream({ session }),
          isCluster: (address) => addresses.contains(address),
          onClusterAddress: async (address) => {
            if (addresses.contains(address)) return;
            addresses.learn([address]);
            await onLearnt?.(address);
          },
          namespace,
          log,
          ...(translation !== undefined && { addresses: translation }),
        }),
      );
    return { addresses, namesOf: namesFrom(records, asked), resolver, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await records.close();
    throw error;
  }
}

/** The cluster's domain, as the far end of a session has it in its resolv.conf. */
export function domainOf(session: Pick<Session, 'peer'> | undefined): string {
  return clusterDomain(session?.peer.names?.search ?? []) ?? 'cluster.local';
}
