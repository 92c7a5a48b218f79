import { createSocket } from 'node:dgram';
import { OpenError, type DatagramSink, type OpenRequest, type TunnelAssociation } from '../../../src/tunnel/index.ts';
import type { Scenario } from './scenario.ts';

/** What stands for a session whose far end dials the laptop's own ports. */
export function imitatedSession({ datagrams = {}, oldFarEnd = false }: Scenario): {
  openAssociation(request: OpenRequest): TunnelAssociation;
} {
  return {
    openAssociation: ({ destination }) => {
      if (oldFarEnd) throw new OpenError('unsupported', 'the far end does not know datagrams');
      const port = datagrams[`${destination.address}:${destination.port}`];
      const socket = createSocket({ type: 'udp4', recvBufferSize: 4_194_304 });
      let sink: DatagramSink | undefined;
      let open = true;
      const close = (): void => {
        if (open) socket.close();
        open = false;
      };
      socket.on('message', (payload) => sink?.datagram(payload));
      socket.on('error', () => close());
      return {
        id: 1,
        attach: (given) => {
          sink = given;
          if (port === undefined || port === 0) {
            close();
            const errorClass = port === 0 ? 'unreachable' : 'refused';
            queueMicrotask(() => given.closed({ kind: 'refused', errorClass, message: 'told by the driver' }));
          }
        },
        send: (payload) => {
          if (!open || port === undefined || port === 0) return false;
          socket.send(payload, port, '127.0.0.1', () => undefined);
          return true;
        },
        close,
      };
    },
  };
}
