import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test from 'ava';
import { OwnCalls } from '../../../src/kpeering/outbound-capture.ts';
import { silentLogger } from '../../../src/platform/log.ts';
import type { Endpoint } from '../../../src/tunnel/types.ts';
import { portOf } from '../tunnel/pair.ts';

const address = '127.0.0.1';

test('a call of ours is known by both its ends while it is open, and a call of the app from the same port is not one', async (t) => {
  const server = createServer().listen(0, address);
  await once(server, 'listening');
  const destination = { address, port: portOf(server) };
  const calls = new OwnCalls();
  const socket = connect(destination.port, address);
  calls.add(socket, destination);
  await once(socket, 'connect');
  const source = { address, port: socket.localPort ?? 0 };
  t.true(calls.has(source, destination, silentLogger));
  t.false(calls.has(source, { address, port: destination.port + 1 }, silentLogger));
  t.false(calls.has(source, { address: '127.0.0.2', port: destination.port }, silentLogger));
  t.false(calls.has({ address, port: source.port + 1 }, destination, silentLogger));
  t.false(calls.has({ address: '127.0.0.2', port: source.port }, destination, silentLogger));
  const closed = once(socket, 'close');
  socket.destroy();
  await closed;
  t.false(calls.has(source, destination, silentLogger));
  server.close();
});

test('two calls of ours from one port, as the kernel allows, are each known until they end', async (t) => {
  const port = await freePort();
  const calls = new OwnCalls();
  const made: { socket: Socket; destination: Endpoint }[] = [];
  for (let count = 0; count < 2; count += 1) {
    const server = createServer().listen(0, address);
    t.teardown(() => server.close());
    await once(server, 'listening');
    const destination = { address, port: portOf(server) };
    const socket = connect({ ...destination, host: address, localAddress: address, localPort: port });
    calls.add(socket, destination);
    await once(socket, 'connect');
    made.push({ socket, destination });
  }
  const known = (): boolean[] => made.map(({ destination }) => calls.has({ address, port }, destination, silentLogger));
  t.deepEqual(known(), [true, true]);
  for (const [index, { socket }] of made.entries()) {
    const closed = once(socket, 'close');
    socket.destroy();
    await closed;
    t.deepEqual(
      known(),
      made.map((_, other) => other > index),
    );
  }
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, address);
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}
