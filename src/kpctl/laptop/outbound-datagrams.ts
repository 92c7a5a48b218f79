import { formatEndpoint, type DatagramFlow } from '../../forwarder/index.ts';
import { messageOf } from '../../platform/errors.ts';
import type { AssociationHandler } from '../../simulator/network/index.ts';
import { OpenError, type AssociationRefusal, type Endpoint, type Session, type TunnelAssociation } from '../../tunnel/index.ts';
import { ListedAssociation } from '../flows/listed-association.ts';
import type { FlowEntry, FlowTable } from '../flows/flow-table.ts';
import type { Notices } from '../links/notices.ts';
import { DeferredAssociation } from './deferred-association.ts';
import { laptopAssociation } from './laptop-association.ts';
import { staleAddress } from './stale-address.ts';

export interface OutboundDatagramsOptions {
  /** Whether an address belongs to the cluster: a Service's or a pod's. */
  readonly isCluster: (address: string) => boolean;
  /** As of the TCP flows. */
  readonly toCluster?: (address: string) => string | undefined;
  readonly session: () => Promise<Pick<Session, 'openAssociation'> & Partial<Pick<Session, 'peer'>>>;
  readonly notices: Notices;
  /** Called once per destination for which the far end takes no datagrams at all. */
  readonly onRefused: (destination: Endpoint, reason: string) => void;
  /** Where the associations are listed. */
  readonly flows?: FlowTable;
}

/** Destinations that are remembered as told. */
const mostTold = 4096;

/**
 * Decides for each association of the command: one with a cluster address goes through the tunnel, any other leaves from the laptop. That nobody
 * listens at the far end, or that there is no way there, reaches the command as an ICMP error; of the cluster's it is told as well.
 */
export function outboundDatagrams(options: OutboundDatagramsOptions): AssociationHandler {
  const { flows, toCluster } = options;
  const told = new Set<string>();
  const tell = (destination: Endpoint, { errorClass, message }: AssociationRefusal): void => {
    const name = formatEndpoint(destination);
    if (errorClass !== 'unsupported') {
      options.notices.once(`udp ${name}`, `UDP to ${name} through the cluster: ${errorClass}: ${message}`);
    } else if (!told.has(name) && told.size < mostTold) {
      told.add(name);
      options.onRefused(destination, message);
    }
  };
  return (flow) => {
    const { source, destination: asked } = flow;
    if (!options.isCluster(asked.address)) {
      const inner = laptopAssociation(flow);
      if (flows === undefined) return inner;
      const entry = flows.open({ protocol: 'udp', source, destination: asked, via: 'direct' });
      entry.opened();
      return new ListedAssociation(inner, entry);
    }
    const address = toCluster === undefined ? asked.address : toCluster(asked.address);
    const destination = { address: address ?? asked.address, port: asked.port };
    const entry = flows?.open({ protocol: 'udp', source, destination, program: { local: source, remote: asked } });
    const opening = address === undefined ? Promise.reject(staleAddress()) : open({ source, destination }, options, entry);
    return new ListedAssociation(new DeferredAssociation(opening, refusalOf), entry, (refusal) => tell(destination, refusal));
  };
}

async function open(
  { source, destination }: DatagramFlow,
  { session: getSession }: OutboundDatagramsOptions,
  entry: FlowEntry | undefined,
): Promise<TunnelAssociation> {
  const session = await getSession();
  const association = session.openAssociation({ kind: 'dial', destination, source });
  entry?.opened(session.peer?.name);
  return association;
}

/** A lost session is not the destination's fault: the next datagram tries again. */
function refusalOf(error: unknown): AssociationRefusal | undefined {
  const errorClass = error instanceof OpenError ? error.errorClass : 'unreachable';
  return errorClass === 'lost' || errorClass === 'aborted' ? undefined : { errorClass, message: messageOf(error) };
}
