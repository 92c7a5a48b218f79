import { once } from 'node:events';
import { duplexPair, type Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { SpdyConnection } from '../../../../src/cluster/spdy/connection.ts';
import { dataHeader, pingFrame } from '../../../../src/cluster/spdy/frames.ts';
import { SpdyStreamResetError, type SpdyStream } from '../../../../src/cluster/spdy/stream.ts';

const nextData = async (stream: Duplex): Promise<Buffer> => await new Promise((resolve) => stream.once('data', resolve));

function pair(t: ExecutionContext, onStream?: (stream: SpdyStream, server: SpdyConnection) => void) {
  const [near, far] = duplexPair();
  const server: SpdyConnection = new SpdyConnection(far, {
    role: 'server',
    ...(onStream !== undefined && { onStream: (stream: SpdyStream) => onStream(stream, server) }),
  });
  const client = new SpdyConnection(near, { role: 'client' });
  t.teardown(() => {
    client.destroy();
    server.destroy();
  });
  return { client, server, near };
}

test('a stream is opened with its headers, accepted, and carries a half-close each way', async (t) => {
  const { client } = pair(t, (stream, server) => {
    server.reply(stream, { said: stream.headers['asks'] ?? '' });
    let text = '';
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    stream.on('end', () => stream.end(`${text}!`));
  });
  const stream = client.openStream({ Asks: 'x' });
  stream.on('error', () => {});
  t.deepEqual(await stream.accepted, { said: 'x' });
  stream.write('hel');
  stream.end('lo');
  const chunks = await stream.toArray();
  t.is(Buffer.concat(chunks).toString(), 'hello!');
});

test('what is written in one turn is one frame, and large writes are cut', async (t) => {
  const [near, far] = duplexPair();
  const client = new SpdyConnection(near, { role: 'client' });
  const stream = client.openStream({});
  stream.on('error', () => {});
  const seen: Buffer[] = [];
  far.on('data', (chunk: Buffer) => seen.push(chunk));
  stream.cork();
  stream.write('ab');
  stream.write('cd');
  stream.uncork();
  stream.end(Buffer.alloc(300 * 1024));
  await once(stream, 'finish');
  client.destroy();
  await once(near, 'close');
  const all = Buffer.concat(seen);
  const headers = [dataHeader(1, 4, false), dataHeader(1, 256 * 1024, false), dataHeader(1, 44 * 1024, false), dataHeader(1, 0, true)];
  for (const header of headers) t.true(all.indexOf(header) >= 0, header.toString('hex'));
});

test('destroying a stream resets it at the other end, and nothing else', async (t) => {
  const opened: SpdyStream[] = [];
  const { client } = pair(t, (stream, server) => {
    stream.on('error', () => {});
    opened.push(stream);
    server.reply(stream);
    stream.pipe(stream);
  });
  const first = client.openStream({});
  const second = client.openStream({});
  second.on('error', () => {});
  await Promise.all([first.accepted, second.accepted]);
  first.on('error', () => {});
  const reset = new Promise((resolve) => (opened[0] ?? first).once('close', resolve));
  first.destroy();
  await reset;
  t.true(opened[0]?.errored instanceof SpdyStreamResetError);
  second.write('still');
  t.is(String(await nextData(second)), 'still');
});

test('a stream that nobody takes is refused', async (t) => {
  const { client } = pair(t);
  const stream = client.openStream({});
  stream.on('error', () => {});
  t.true((await t.throwsAsync(stream.accepted)) instanceof SpdyStreamResetError);
});

test('a connection that is lost ends its streams with the reason, and one that is closed says so', async (t) => {
  const { client, near } = pair(t, (stream) => stream.on('error', () => {}));
  const stream = client.openStream({});
  const failed = new Promise((resolve) => stream.once('error', resolve));
  const cause = new Error('the cable');
  near.destroy(cause);
  t.is(await failed, cause);
  t.is(await client.closed, cause);
  t.throws(() => client.openStream({}));
  const other = pair(t);
  await other.client.close();
  t.true((await other.server.closed) instanceof Error);
});

test('a ping of the peer is answered', async (t) => {
  const [near, far] = duplexPair();
  const server = new SpdyConnection(far, { role: 'server' });
  near.write(pingFrame(7));
  t.deepEqual(await nextData(near), pingFrame(7));
  server.destroy();
});
