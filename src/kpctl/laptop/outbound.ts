import { dialTcp, openWithEarlyData, spliceSockets, spliceStream } from '../../forwarder/index.ts';
import type { Flow, FlowHandler } from '../../interceptor/types.ts';
import { messageOf } from '../../platform/errors.ts';
import { OpenError, type Session } from '../../tunnel/index.ts';
import type { FlowTable } from '../flows/flow-table.ts';
import { whyEnded } from '../flows/why-ended.ts';
import type { Notices } from '../links/notices.ts';
import { staleAddress } from './stale-address.ts';

export interface OutboundOptions {
  /** Whether an address belongs to the cluster: a Service's or a pod's. */
  readonly isCluster: (address: string) => boolean;
  /**
   * Of an address that stands for one of the cluster, the latter; of any other the same. Undefined: it stood for one that is not known any more. Default: all
   * addresses are what they are.
   */
  readonly toCluster?: (address: string) => string | undefined;
  readonly session: () => Promise<Session>;
  readonly notices: Notices;
  /** Where the flows are listed. */
  readonly flows?: FlowTable;
}

/**
 * Decides for each flow of the command: a cluster address leaves through the tunnel, everything else is dialled from the
 * laptop. The far end is dialled first; where that fails the command sees a reset, since its own connect has succeeded.
 */
export function outboundFlows(options: OutboundOptions): FlowHandler {
  return (flow) => {
    const carried = options.isCluster(flow.destination.address) ? throughTunnel(flow, options) : direct(flow, options);
    void carried;
  };
}

async function throughTunnel(flow: Flow, { session: getSession, notices, flows, toCluster }: OutboundOptions): Promise<void> {
  const { socket, source, destination: asked } = flow;
  const address = toCluster === undefined ? asked.address : toCluster(asked.address);
  const destination = { address: address ?? asked.address, port: asked.port };
  const entry = flows?.open({ protocol: 'tcp', source, destination, program: { local: source, remote: asked } });
  entry?.counted(socket);
  socket.once('error', ignored);
  try {
    if (address === undefined) throw staleAddress();
    const session = await getSession();
    const stream = await openWithEarlyData(session, { kind: 'dial', destination, source }, socket);
    socket.off('error', ignored);
    entry?.opened(session.peer.name);
    entry?.ended(whyEnded((await spliceStream(socket, stream)).ended));
  } catch (error) {
    socket.resetAndDestroy();
    const what = error instanceof OpenError ? `${error.errorClass}: ${error.message}` : messageOf(error);
    entry?.ended(what);
    notices.once(`${destination.address}:${destination.port}`, `${destination.address}:${destination.port} through the cluster: ${what}`);
  }
}

async function direct(flow: Flow, { flows }: OutboundOptions): Promise<void> {
  const { socket, source, destination } = flow;
  const entry = flows?.open({ protocol: 'tcp', source, destination, via: 'direct' });
  entry?.counted(socket);
  socket.once('error', ignored);
  try {
    const upstream = await dialTcp(destination, { timeoutMilliseconds: 120_000 }); // the kernel's own patience, not ours
    socket.off('error', ignored);
    entry?.opened();
    entry?.ended(whyEnded((await spliceSockets(socket, upstream)).ended));
  } catch (error) {
    socket.resetAndDestroy();
    entry?.ended(messageOf(error));
  }
}

/** A client that goes away while its destination is dialled. The splice has its own listener. */
function ignored(): void {}
