import { dialTcp, openWithEarlyData, spliceSockets, spliceStream } from '../../forwarder/index.ts';
import type { Flow, FlowHandler } from '../../interceptor/types.ts';
import { messageOf } from '../../platform/errors.ts';
import { OpenError, type Session } from '../../tunnel/index.ts';
import type { Notices } from '../links/notices.ts';

export interface OutboundOptions {
  /** Whether an address belongs to the cluster: a Service's or a pod's. */
  readonly isCluster: (address: string) => boolean;
  readonly session: () => Promise<Session>;
  readonly notices: Notices;
}

/**
 * Decides for each flow of the command: a cluster address leaves through the tunnel, everything else is dialled from the
 * laptop. The far end is dialled first; where that fails the command sees a reset, since its own connect has succeeded.
 */
export function outboundFlows(options: OutboundOptions): FlowHandler {
  return (flow) => {
    const carried = options.isCluster(flow.destination.address) ? throughTunnel(flow, options) : direct(flow);
    void carried;
  };
}

async function throughTunnel(flow: Flow, options: OutboundOptions): Promise<void> {
  const { socket, source, destination } = flow;
  const failed = (error: unknown): void => {
    socket.resetAndDestroy();
    const what = error instanceof OpenError ? `${error.errorClass}: ${error.message}` : messageOf(error);
    options.notices.once(
      `${destination.address}:${destination.port}`,
      `${destination.address}:${destination.port} through the cluster: ${what}`,
    );
  };
  socket.once('error', ignored);
  try {
    const session = await options.session();
    const stream = await openWithEarlyData(session, { kind: 'dial', destination, source }, socket);
    socket.off('error', ignored);
    await spliceStream(socket, stream);
  } catch (error) {
    failed(error);
  }
}

async function direct(flow: Flow): Promise<void> {
  const { socket, destination } = flow;
  socket.once('error', ignored);
  try {
    const upstream = await dialTcp(destination, { timeoutMilliseconds: 120_000 }); // the kernel's own patience, not ours
    socket.off('error', ignored);
    await spliceSockets(socket, upstream);
  } catch {
    socket.resetAndDestroy();
  }
}

/** A client that goes away while its destination is dialled. The splice has its own listener. */
function ignored(): void {}
