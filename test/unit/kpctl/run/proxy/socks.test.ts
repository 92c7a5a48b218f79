import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { ProxyServer } from '../../../../../src/kpctl/run/proxy/proxy-server.ts';
import { dial, proxyStage, readUntil, tcpServer } from './stage.ts';

const names = { 'db.shop.svc.cluster.local': '10.96.0.2' };

async function take(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes: unknown = socket.read(count);
    if (Buffer.isBuffer(bytes)) return bytes;
    await Promise.race([once(socket, 'readable'), once(socket, 'end')]);
    if (socket.readableEnded) return Buffer.alloc(0);
  }
}

/** A connection behind its greeting. */
async function greet(t: ExecutionContext, proxy: ProxyServer, password = proxy.access.password) {
  const socket = await dial(t, proxy);
  socket.write(Buffer.from([5, 2, 0, 2]));
  t.deepEqual([...(await take(socket, 2))], [5, 2]);
  const { user } = proxy.access;
  socket.write(Buffer.concat([Buffer.from([1, user.length]), Buffer.from(user), Buffer.from([password.length]), Buffer.from(password)]));
  return { socket, status: (await take(socket, 2))[1] };
}

function named(command: number, host: string, port: number): Buffer {
  return Buffer.concat([Buffer.from([5, command, 0, 3, host.length]), Buffer.from(host), Buffer.from([port >> 8, port & 255])]);
}

test('CONNECT by name and by address, and what is sent at once is not lost', async (t) => {
  const port = await tcpServer(t, (socket) => {
    let all = '';
    socket.on('data', (chunk: Buffer) => (all += chunk.toString())).on('end', () => socket.end(`heard ${all}`));
  });
  const { proxy, asked } = await proxyStage(t, { names, cluster: { '10.96.0.2:5432': port } });
  for (const request of [named(1, 'db', 5432), Buffer.from([5, 1, 0, 1, 10, 96, 0, 2, 5432 >> 8, 5432 & 255])]) {
    const { socket, status } = await greet(t, proxy);
    t.is(status, 0);
    socket.end(Buffer.concat([request, Buffer.from('question')]));
    t.deepEqual([...(await take(socket, 10))], [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    t.is(await readUntil(socket, 'question'), 'heard question');
  }
  t.deepEqual(asked, ['10.96.0.2:5432', '10.96.0.2:5432']);
});

test('a destination that is not reached is told by the reply, and then the connection ends', async (t) => {
  const { proxy } = await proxyStage(t, {
    names,
    lookup: async (name) => {
      throw Object.assign(new Error(name), { code: 'ENOTFOUND' });
    },
  });
  for (const [host, port, reply] of [
    ['db', 80, 5],
    ['db', 9, 6],
    ['no.such.name', 80, 4],
    ['unsure', 80, 1],
  ] as const) {
    const { socket } = await greet(t, proxy);
    socket.write(named(1, host, port));
    t.is((await take(socket, 10))[1], reply, host);
    t.is((await take(socket, 1)).length, 0);
  }
});

test('what it does not speak is refused: SOCKS4, no password, a wrong one, BIND', async (t) => {
  const { proxy, asked } = await proxyStage(t, { names });
  const four = await dial(t, proxy);
  four.write(Buffer.from([4, 1, 0, 80, 10, 96, 0, 2, 0]));
  t.deepEqual([...(await take(four, 2))], [0, 0x5b]);
  const open = await dial(t, proxy);
  open.write(Buffer.from([5, 1, 0]));
  t.deepEqual([...(await take(open, 2))], [5, 0xff]);
  t.is((await greet(t, proxy, 'x'.repeat(32))).status, 1);
  const { socket } = await greet(t, proxy);
  socket.write(named(2, 'db', 80));
  t.is((await take(socket, 10))[1], 7);
  t.deepEqual(asked, []);
});

test("UDP ASSOCIATE carries the first sender's datagrams, and ends with its connection", async (t) => {
  const server = createSocket('udp4');
  server.on('message', (message, from) => server.send(`echo ${message.toString()}`, from.port, from.address));
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { proxy } = await proxyStage(t, { names: { 'dns.shop.svc.cluster.local': '127.0.0.1' } });
  const { socket } = await greet(t, proxy);
  socket.write(named(3, '0.0.0.0', 0));
  const relay = (await take(socket, 10)).readUInt16BE(8);
  const [client, stranger] = [createSocket('udp4'), createSocket('udp4')];
  t.teardown(() => [client, stranger].map((one) => one.close()));
  const { port } = server.address();
  const end = Buffer.from([port >> 8, port & 255]);
  const headers = [Buffer.from([0, 0, 0, 1, 127, 0, 0, 1]), Buffer.concat([Buffer.from([0, 0, 0, 3, 3]), Buffer.from('dns')])];
  for (const header of headers) {
    client.send(Buffer.concat([header, end, Buffer.from('hello')]), relay, '127.0.0.1');
    const answer = await new Promise<Buffer>((resolve) => client.once('message', resolve));
    t.is(answer.subarray(10).toString(), 'echo hello');
  }
  let heard = 0;
  stranger.on('message', () => (heard += 1));
  stranger.send(Buffer.concat([headers[0] ?? Buffer.alloc(0), end, Buffer.from('stranger')]), relay, '127.0.0.1');
  socket.end();
  t.is((await take(socket, 1)).length, 0);
  t.is(heard, 0);
});
