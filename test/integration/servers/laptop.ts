/**
 * A laptop of its own, as a process in its network namespace: is given its tunnel's connection over IPC, claims the flows of its
 * arguments (`tcp:8080`), says `claimed`, and answers with what listens here.
 */
import { Socket } from 'node:net';
import { answerAssociation, answerDial } from '../../../src/forwarder/index.ts';
import { messageOf } from '../../../src/platform/errors.ts';
import { connectSession, newSessionId, type Endpoint, type OpenRequest } from '../../../src/tunnel/index.ts';

function here({ destination }: OpenRequest): Endpoint {
  return { address: '127.0.0.1', port: destination.port };
}

async function serve(transport: Socket): Promise<void> {
  const session = await connectSession(
    { description: 'the loopback of the pod', connect: async () => transport },
    { id: newSessionId(), role: 'laptop', software: '0.1.0', name: 'alice@mbp', user: 'alice' },
    {
      incoming: (stream) => void answerDial(stream, here(stream.request)),
      incomingAssociation: (association) => void answerAssociation(association, here(association.request)),
      request: async () => null,
      notified: () => undefined,
    },
  );
  for (const flow of process.argv.slice(2)) {
    const [protocol, port] = flow.split(':');
    await session.request('claim', { protocol, port: Number(port) });
  }
  process.send?.('claimed');
}

process.on('disconnect', () => process.exit());
process.once('message', (_message, handle: unknown) => {
  if (!(handle instanceof Socket)) throw new Error('the tunnel is a socket');
  handle.allowHalfOpen = true;
  serve(handle).catch((error: unknown) => process.send?.(messageOf(error)));
});
process.send?.('started');
