import { formatEndpoint, type DatagramFlow } from '../../forwarder/index.ts';
import { messageOf } from '../../platform/errors.ts';
import type { AssociationHandler } from '../../simulator/network/index.ts';
import {
  OpenError,
  type AssociationRefusal,
  type DatagramSink,
  type Endpoint,
  type Session,
  type TunnelAssociation,
} from '../../tunnel/index.ts';
import type { Notices } from '../links/notices.ts';
import { DeferredAssociation } from './deferred-association.ts';
import { laptopAssociation } from './laptop-association.ts';

export interface OutboundDatagramsOptions {
  /** Whether an address belongs to the cluster: a Service's or a pod's. */
  readonly isCluster: (address: string) => boolean;
  readonly session: () => Promise<Pick<Session, 'openAssociation'>>;
  readonly notices: Notices;
  /** Called once per destination for which the far end takes no datagrams at all. */
  readonly onRefused: (destination: Endpoint, reason: string) => void;
}

/** Destinations that are remembered as told. */
const mostTold = 4096;

/**
 * Decides for each association of the command: one with a cluster address goes through the tunnel, any other leaves from the laptop. That nobody
 * listens at the far end, or that there is no way there, reaches the command as an ICMP error; of the cluster's it is told as well.
 */
export function outboundDatagrams(options: OutboundDatagramsOptions): AssociationHandler {
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
    if (!options.isCluster(flow.destination.address)) return laptopAssociation(flow);
    return new ToldAssociation(new DeferredAssociation(open(flow, options), refusalOf), (refusal) => tell(flow.destination, refusal));
  };
}

async function open({ source, destination }: DatagramFlow, { session }: OutboundDatagramsOptions): Promise<TunnelAssociation> {
  return (await session()).openAssociation({ kind: 'dial', destination, source });
}

/** A lost session is not the destination's fault: the next datagram tries again. */
function refusalOf(error: unknown): AssociationRefusal | undefined {
  const errorClass = error instanceof OpenError ? error.errorClass : 'unreachable';
  return errorClass === 'lost' || errorClass === 'aborted' ? undefined : { errorClass, message: messageOf(error) };
}

/** An association whose refusal is told to the user as well. */
class ToldAssociation implements TunnelAssociation {
  readonly id = 0;
  readonly #inner: TunnelAssociation;
  readonly #tell: (refusal: AssociationRefusal) => void;

  constructor(inner: TunnelAssociation, tell: (refusal: AssociationRefusal) => void) {
    this.#inner = inner;
    this.#tell = tell;
  }

  attach(sink: DatagramSink): void {
    this.#inner.attach({
      datagram: (payload) => sink.datagram(payload),
      closed: (reason) => {
        if (reason.kind === 'refused') this.#tell(reason);
        sink.closed(reason);
      },
    });
  }

  send(payload: Buffer): boolean {
    return this.#inner.send(payload);
  }

  close(refusal?: AssociationRefusal): void {
    this.#inner.close(refusal);
  }
}
