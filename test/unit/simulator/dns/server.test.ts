import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { randomBytes, randomInt } from 'node:crypto';
import test from 'ava';
import { Packet } from 'dns2';
import type dns2 from 'dns2';
import { silentLogger } from '../../../../src/platform/log.ts';
import { encodeAnswer, encodeQuery, errorAnswer, RCODE, TYPE } from '../../../../src/simulator/dns/message.ts';
import { createResolver } from '../../../../src/simulator/dns/resolver.ts';
import { startDnsServer } from '../../../../src/simulator/dns/server.ts';
import type { DnsServer, DnsServerOptions } from '../../../../src/simulator/dns/server.ts';
import { createZone } from '../../../../src/simulator/dns/zone.ts';
import { shop } from './fixtures.ts';

const records = shop();
const resolve = createResolver({ zone: createZone({ records }), records, namespace: 'shop', log: silentLogger });
const any = { address: '127.0.0.1', port: 0 };

const start = (options: Partial<DnsServerOptions> = {}): Promise<DnsServer> =>
  startDnsServer({ udp: [any], tcp: [any], resolve, log: silentLogger, ...options });

async function client(server: DnsServer): Promise<DatagramSocket> {
  const socket = createSocket('udp4');
  socket.connect(server.udp[0]?.port ?? 0, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

async function ask(socket: DatagramSocket, bytes: Buffer): Promise<dns2.Packet> {
  const { promise, resolve: answered } = Promise.withResolvers<Buffer>();
  socket.once('message', answered);
  socket.send(bytes);
  return Packet.parse(await promise);
}

/** Resolves when the connection is closed, also by a reset: what it had sent may not have been read. */
async function closed(socket: Socket): Promise<void> {
  await new Promise((resolve) => socket.once('close', resolve));
}

/** Reads framed messages until there are `count`, or the connection ends. */
async function readFramed(socket: Socket, count: number): Promise<dns2.Packet[]> {
  let received = Buffer.alloc(0);
  const messages: dns2.Packet[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    received = Buffer.concat([received, Buffer.from(chunk)]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      messages.push(Packet.parse(received.subarray(2, 2 + received.readUInt16BE(0))));
      received = received.subarray(2 + received.readUInt16BE(0));
    }
    if (messages.length >= count) break;
  }
  return messages;
}

function framed(bytes: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

test('who asks from port 0 gets no answer, and does no harm', async (t) => {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  await using _server = await start({ udp: [socket] });
  const from = { address: '127.0.0.1', family: 'IPv4', port: 0, size: 0 };
  t.notThrows(() => socket.emit('message', encodeQuery(7, 'web', TYPE.A), from));
});

test('answers by UDP from the socket that was asked', async (t) => {
  await using server = await start({ udp: [any, { address: '127.0.0.2', port: 0 }] });
  const socket = await client(server);
  const answer = await ask(socket, encodeQuery(7, 'web.shop.svc.cluster.local', TYPE.A));
  t.is(answer.header.id, 7);
  t.is(answer.answers[0]?.address, '10.96.77.1');
  const other = createSocket('udp4');
  other.connect(server.udp[1]?.port ?? 0, '127.0.0.2');
  await once(other, 'connect');
  t.is((await ask(other, encodeQuery(8, 'web', TYPE.A))).answers[0]?.address, '10.96.77.1');
  socket.close();
  other.close();
});

test('serves on sockets that were made elsewhere, and closes them', async (t) => {
  const udp = createSocket('udp4');
  udp.bind(0, '127.0.0.1');
  await once(udp, 'listening');
  const tcp = createServer({ allowHalfOpen: true });
  tcp.listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const server = await start({ udp: [udp], tcp: [tcp] });
  const socket = await client(server);
  t.is((await ask(socket, encodeQuery(1, 'web', TYPE.A))).answers.length, 1);
  socket.close();
  const closed = once(udp, 'close');
  await server.close();
  await server.close();
  await closed;
  t.false(tcp.listening);
});

test('several queries on one TCP connection, in pieces, and a half-close behind the last', async (t) => {
  await using server = await start();
  const socket = connect({ port: server.tcp[0]?.port ?? 0, host: '127.0.0.1', allowHalfOpen: true });
  const bytes = Buffer.concat(Array.from({ length: 50 }, (_, id) => framed(encodeQuery(id, 'web.shop.svc.cluster.local', TYPE.A))));
  socket.write(bytes.subarray(0, 1));
  socket.write(bytes.subarray(1, 99));
  socket.end(bytes.subarray(99));
  const messages = await readFramed(socket, 51);
  t.deepEqual(
    messages.map(({ header }) => header.id),
    Array.from({ length: 50 }, (_, id) => id),
  );
});

test('a slow answer does not hold back a later one of the same connection, and more than the pipeline all get theirs', async (t) => {
  const slow = Promise.withResolvers<void>();
  await using server = await start({
    resolve: async (query) => {
      if (query.question.name === 'slow') await slow.promise;
      return encodeAnswer(query, errorAnswer(RCODE.NXDOMAIN));
    },
  });
  const socket = connect(server.tcp[0]?.port ?? 0, '127.0.0.1');
  socket.write(framed(encodeQuery(1, 'slow', TYPE.A)));
  socket.write(framed(encodeQuery(2, 'fast', TYPE.A)));
  const [first] = await readFramed(socket, 1);
  t.is(first?.header.id, 2);
  for (let id = 3; id < 103; id += 1) socket.write(framed(encodeQuery(id, 'slow', TYPE.A)));
  const rest = readFramed(socket, 101);
  slow.resolve();
  t.is((await rest).length, 101);
  socket.destroy();
});

test('a silent TCP connection is closed', async (t) => {
  await using server = await start({ idleMilliseconds: 20 });
  const socket = connect(server.tcp[0]?.port ?? 0, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(Buffer.from([0]));
  socket.resume();
  await once(socket, 'close');
  t.pass();
});

test('more connections than allowed are closed at once', async (t) => {
  await using server = await start({ connections: 1 });
  const first = connect(server.tcp[0]?.port ?? 0, '127.0.0.1');
  first.write(framed(encodeQuery(1, 'web', TYPE.A)));
  await readFramed(first, 1);
  const second = connect(server.tcp[0]?.port ?? 0, '127.0.0.1');
  second.on('error', () => {});
  second.resume();
  await closed(second);
  t.false(first.destroyed);
  first.destroy();
});

test('a resolver that fails is SERVFAIL, other classes and zone transfers are refused', async (t) => {
  await using server = await start({
    resolve: (query) => {
      if (query.question.name === 'throws') throw new Error('a bug');
      return query.question.name === 'rejects' ? Promise.reject(new Error('a bug')) : resolve(query);
    },
  });
  const socket = await client(server);
  t.is((await ask(socket, encodeQuery(1, 'throws', TYPE.A))).header.rcode, RCODE.SERVFAIL);
  t.is((await ask(socket, encodeQuery(2, 'rejects', TYPE.A))).header.rcode, RCODE.SERVFAIL);
  t.is((await ask(socket, encodeQuery(3, 'cluster.local', TYPE.AXFR))).header.rcode, RCODE.REFUSED);
  const chaos = encodeQuery(4, 'web.shop.svc.cluster.local', TYPE.A);
  chaos.writeUInt16BE(3, chaos.length - 13);
  t.is((await ask(socket, chaos)).header.rcode, RCODE.REFUSED);
  socket.close();
});

test('at its limit it answers SERVFAIL rather than wait', async (t) => {
  const { promise, resolve: release } = Promise.withResolvers<void>();
  await using server = await start({
    limit: 1,
    resolve: async (query) => {
      await promise;
      return encodeAnswer(query, errorAnswer(RCODE.NXDOMAIN));
    },
  });
  const socket = await client(server);
  socket.send(encodeQuery(1, 'a', TYPE.A));
  t.is((await ask(socket, encodeQuery(2, 'b', TYPE.A))).header.rcode, RCODE.SERVFAIL);
  const late = once(socket, 'message');
  release();
  await late;
  socket.close();
});

test('an address that is taken rejects, and leaves nothing open', async (t) => {
  await using server = await start();
  const taken = { address: '127.0.0.1', port: server.tcp[0]?.port ?? 0 };
  await t.throwsAsync(start({ tcp: [taken] }), { code: 'EADDRINUSE' });
});

test('random octets by UDP and TCP: it goes on answering', async (t) => {
  await using server = await start();
  const socket = await client(server);
  for (let round = 0; round < 2000; round += 1) {
    const bytes =
      round % 2 === 0 ? randomBytes(randomInt(1, 600)) : Buffer.from(encodeQuery(round, 'web.shop.svc.cluster.local', TYPE.ANY));
    bytes.writeUInt8(randomInt(256), randomInt(bytes.length));
    socket.send(bytes);
  }
  for (let round = 0; round < 20; round += 1) {
    const stream = connect(server.tcp[0]?.port ?? 0, '127.0.0.1');
    stream.on('error', () => {});
    stream.resume();
    stream.end(randomBytes(5000));
    await closed(stream);
  }
  const last = Promise.withResolvers<void>();
  socket.on('message', (message) => {
    if (Packet.parse(message).questions[0]?.name === 'last.shop') last.resolve();
  });
  const again = setInterval(() => socket.send(encodeQuery(1, 'last.shop', TYPE.A)), 50);
  await last.promise;
  clearInterval(again);
  socket.close();
  t.pass();
});
