import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createUpstream, NoServerError, UpstreamError } from '../../../../src/simulator/dns/upstream.ts';
import { RCODE, TYPE } from '../../../../src/simulator/dns/message.ts';
import { query } from './fixtures.ts';

const folder = mkdtempSync(join(tmpdir(), 'kpeering-upstream-'));
test.after.always(() => rmSync(folder, { recursive: true }));

let files = 0;
function resolvConf(text: string): string {
  files += 1;
  const path = join(folder, `resolv-${files}.conf`);
  writeFileSync(path, text);
  return path;
}

type Behaviour = (bytes: Buffer, server: FakeServer) => Buffer | readonly Buffer[] | undefined;

interface FakeServer extends AsyncDisposable {
  readonly port: number;
  readonly queries: Buffer[];
}

/** A name server at `address`; `port` 0 the first time, then the same one for the others. */
async function fakeServer(address: string, port: number, behaviour: Behaviour): Promise<FakeServer> {
  const socket: DatagramSocket = createSocket('udp4');
  socket.bind(port, address);
  await once(socket, 'listening');
  const tcp: Server = createServer((connection) => {
    connection.on('error', () => {});
    connection.once('data', (bytes) => {
      const [answer] = [behaviour(bytes.subarray(2), server)].flat();
      if (answer === undefined) return;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      connection.write(length);
      connection.end(answer);
    });
  });
  tcp.listen(socket.address().port, address);
  try {
    await once(tcp, 'listening');
  } catch (error) {
    socket.close();
    // Somebody has the same number for TCP.
    if (port === 0) return await fakeServer(address, 0, behaviour);
    throw error;
  }
  const server: FakeServer = {
    port: socket.address().port,
    queries: [],
    [Symbol.asyncDispose]: async () => {
      socket.close();
      tcp.close();
      await Promise.all([once(socket, 'close'), once(tcp, 'close')]);
    },
  };
  socket.on('message', (bytes, remote) => {
    server.queries.push(Buffer.from(bytes));
    for (const answer of [behaviour(bytes, server)].flat()) if (answer !== undefined) socket.send(answer, remote.port, remote.address);
  });
  return server;
}

/** The query itself, as an answer with a code. */
function answer(bytes: Buffer, rcode: number = RCODE.NOERROR): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(2) | 0x80, 2);
  copy.writeUInt8(0x80 | rcode, 3);
  return copy;
}

const { bytes } = query('www.Example.com', TYPE.A);

test("the client's own octets go out under another id, and the answer comes back under its own", async (t) => {
  await using server = await fakeServer('127.0.0.1', 0, (asked) => answer(asked));
  const upstream = createUpstream({ path: resolvConf('nameserver 127.0.0.1\n'), port: server.port });
  const ids = new Set<number>();
  for (let round = 0; round < 5; round += 1) t.deepEqual(await upstream.query(bytes, 'udp'), answer(bytes));
  for (const asked of server.queries) {
    t.deepEqual(asked.subarray(2), bytes.subarray(2));
    ids.add(asked.readUInt16BE(0));
  }
  t.true(ids.size > 2);
});

test('forged answers are passed over: another id, another question, no response', async (t) => {
  await using server = await fakeServer('127.0.0.1', 0, (asked) => {
    const otherId = answer(asked);
    otherId.writeUInt16BE((asked.readUInt16BE(0) + 1) & 0xffff, 0);
    const otherName = answer(asked);
    otherName.write('xxx', 13, 'latin1');
    return [otherId, otherName, Buffer.from(asked), Buffer.alloc(3), answer(asked, RCODE.NXDOMAIN)];
  });
  const upstream = createUpstream({ path: resolvConf('nameserver 127.0.0.1\n'), port: server.port });
  t.deepEqual(await upstream.query(bytes, 'udp'), answer(bytes, RCODE.NXDOMAIN));
});

test('the next server is asked when one is silent, refuses or is not there, and a silent one comes last afterwards', async (t) => {
  await using silent = await fakeServer('127.0.0.2', 0, () => undefined);
  await using unwilling = await fakeServer('127.0.0.3', silent.port, (asked) => answer(asked, RCODE.REFUSED));
  await using good = await fakeServer('127.0.0.4', silent.port, (asked) => answer(asked));
  const three = 'nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.4\noptions timeout:1\n';
  const upstream = createUpstream({ path: resolvConf(three), port: silent.port });
  t.deepEqual(await upstream.query(bytes, 'udp'), answer(bytes));
  t.is(silent.queries.length, 2, 'asked, and once more in the middle of the wait');
  await upstream.query(bytes, 'udp');
  t.is(silent.queries.length, 2);
  t.is(unwilling.queries.length, 2);
  t.is(good.queries.length, 2);
  const absent = createUpstream({ path: resolvConf('nameserver 127.0.0.5\nnameserver 127.0.0.4\n'), port: silent.port });
  t.deepEqual(await absent.query(bytes, 'udp'), answer(bytes));
});

test('a server that cannot even be sent to, as a machine without a network has it, is passed over', async (t) => {
  await using good = await fakeServer('127.0.0.4', 0, (asked) => answer(asked));
  // connect(2) refuses a broadcast address with EACCES, whatever the routes are
  const upstream = createUpstream({ path: resolvConf('nameserver 255.255.255.255\nnameserver 127.0.0.4\n'), port: good.port });
  t.deepEqual(await upstream.query(bytes, 'udp'), answer(bytes));
  const none = createUpstream({ path: resolvConf('nameserver 255.255.255.255\n'), port: good.port });
  await t.throwsAsync(none.query(bytes, 'udp'), { instanceOf: UpstreamError, message: /EACCES/ });
});

test('an unwilling answer is better than none', async (t) => {
  await using server = await fakeServer('127.0.0.1', 0, (asked) => answer(asked, RCODE.SERVFAIL));
  const upstream = createUpstream({ path: resolvConf('nameserver 127.0.0.1\n'), port: server.port });
  t.deepEqual(await upstream.query(bytes, 'udp'), answer(bytes, RCODE.SERVFAIL));
});

test('a client that asks by TCP is answered by TCP', async (t) => {
  await using server = await fakeServer('127.0.0.1', 0, (asked) => answer(asked));
  const upstream = createUpstream({ path: resolvConf('nameserver 127.0.0.1\n'), port: server.port });
  t.deepEqual(await upstream.query(bytes, 'tcp'), answer(bytes));
  t.is(server.queries.length, 0);
});

test('no server, only ourselves, and nobody listening fail at once', async (t) => {
  await t.throwsAsync(createUpstream({ path: resolvConf('# none\n') }).query(bytes, 'udp'), { instanceOf: UpstreamError });
  await t.throwsAsync(createUpstream({ path: join(folder, 'absent') }).query(bytes, 'udp'), { instanceOf: UpstreamError });
  const ourselves = createUpstream({ path: resolvConf('nameserver 127.0.0.1\n'), except: ['127.0.0.1'] });
  await t.throwsAsync(ourselves.query(bytes, 'udp'), { message: /no server/ });
  await using server = await fakeServer('127.0.0.1', 0, () => undefined);
  const nobody = createUpstream({ path: resolvConf('nameserver 127.0.0.6\n'), port: server.port });
  await t.throwsAsync(nobody.query(bytes, 'udp'), { message: /ECONNREFUSED/ });
  await t.throwsAsync(nobody.query(bytes, 'tcp'), { message: /ECONNREFUSED/ });
});

test('resolv.conf is read again after it changed', async (t) => {
  await using server = await fakeServer('127.0.0.1', 0, (asked) => answer(asked));
  const path = resolvConf('# none yet\n');
  const upstream = createUpstream({ path, port: server.port });
  await t.throwsAsync(upstream.query(bytes, 'udp'));
  writeFileSync(path, 'nameserver 127.0.0.1\n');
  const until = performance.now() + 10_000;
  const ask = (): Promise<Buffer | undefined> => upstream.query(bytes, 'udp').catch(() => undefined);
  let seen = await ask();
  while (seen === undefined && performance.now() < until) {
    await new Promise((resolve) => setImmediate(resolve));
    seen = await ask();
  }
  t.deepEqual(seen, answer(bytes));
});

test('an aborted query rejects with the reason', async (t) => {
  await using server = await fakeServer('127.0.0.1', 0, () => undefined);
  const upstream = createUpstream({ path: resolvConf('nameserver 127.0.0.1\n'), port: server.port });
  const stop = new AbortController();
  const pending = upstream.query(bytes, 'udp', { signal: stop.signal });
  stop.abort(new Error('stopped'));
  await t.throwsAsync(pending, { message: 'stopped' });
});

test('servers that are given from outside are asked as they are at the moment, each at its port', async (t) => {
  await using first = await fakeServer('127.0.0.1', 0, (asked) => answer(asked));
  await using second = await fakeServer('127.0.0.2', 0, (asked) => answer(asked));
  let servers = [{ address: '127.0.0.1', port: first.port }];
  const upstream = createUpstream({ servers: () => servers });
  const { revision } = upstream;
  await upstream.query(bytes, 'udp');
  t.is(upstream.revision, revision);
  servers = [{ address: '127.0.0.2', port: second.port }];
  t.not(upstream.revision, revision);
  await upstream.query(bytes, 'udp');
  await upstream.query(bytes, 'tcp');
  t.deepEqual([first.queries.length, second.queries.length], [1, 1]);
  servers = [];
  await t.throwsAsync(upstream.query(bytes, 'udp'), { instanceOf: NoServerError });
});

test('queries of one moment share a socket, and not for long', async (t) => {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const ports: number[] = [];
  socket.on('message', (asked, remote) => {
    ports.push(remote.port);
    socket.send(answer(asked), remote.port, remote.address);
  });
  const upstream = createUpstream({ servers: () => [{ address: '127.0.0.1', port: socket.address().port }] });
  const names = Array.from({ length: 200 }, (_, index) => query(`host-${index}.example.com`, TYPE.A));
  const answers = await Promise.all(names.map(async (one) => await upstream.query(one.bytes, 'udp')));
  t.deepEqual(
    answers,
    names.map((one) => answer(one.bytes)),
  );
  const used = new Set(ports).size;
  t.true(used >= 2 && used <= 50, String(used));
  socket.close();
});
