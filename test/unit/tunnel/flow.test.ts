import { createHash, randomBytes } from 'node:crypto';
import { acceptor, Recorder, request, sessionPair, test } from './pair.ts';

const MIB = 1024 * 1024;

test('credit stops a sender whose far end does not consume, and lets it go on when it does', async (t) => {
  const far = acceptor();
  const { laptop } = await sessionPair(t, {}, { incoming: far.incoming }, { window: 100_000 });
  const near = await laptop.open(request);
  const other = await far.next();
  const sender = new Recorder(near);
  const receiver = new Recorder(other, false);
  const chunk = Buffer.alloc(30_000, 1);
  let written = 0;
  do written += chunk.length;
  while (near.write(chunk));
  await receiver.until(() => receiver.bytes === 100_000);
  await laptop.request('after', {});
  t.is(receiver.bytes, 100_000);
  const drains = sender.drains;
  near.write(chunk);
  written += chunk.length;
  other.consumed(100_000);
  await receiver.until(() => receiver.bytes === written);
  await sender.until(() => sender.drains > drains);
  t.pass();
});

test('a stalled stream delays neither another stream nor a request', async (t) => {
  const far = acceptor();
  const { laptop } = await sessionPair(t, {}, { incoming: far.incoming, request: async () => 'pong' });
  const stalled = await laptop.open(request);
  const stalledFar = await far.next();
  const stalledSink = new Recorder(stalledFar, false);
  const lively = await laptop.open(request);
  const livelyFar = new Recorder(await far.next());
  const chunk = Buffer.alloc(64 * 1024, 1);
  for (let index = 0; index < 64; index += 1) stalled.write(chunk);
  await stalledSink.until(() => stalledSink.bytes === MIB);
  for (let index = 0; index < 64; index += 1) lively.write(chunk);
  lively.end();
  t.is(await livelyFar.finished, 'end');
  t.is(livelyFar.bytes, 4 * MIB);
  t.is(stalledSink.bytes, MIB);
  t.is(await laptop.request('ping', {}), 'pong');
});

test('streams take turns: a small one does not wait for a large one', async (t) => {
  const far = acceptor();
  const { laptop } = await sessionPair(t, {}, { incoming: far.incoming }, { window: 64 * MIB });
  const large = await laptop.open(request);
  const largeFar = new Recorder(await far.next());
  const small = await laptop.open(request);
  const smallFar = new Recorder(await far.next());
  const chunk = Buffer.alloc(MIB, 1);
  for (let index = 0; index < 32; index += 1) large.write(chunk);
  large.end();
  small.write(Buffer.from('small'));
  small.end();
  await smallFar.finished;
  t.true(largeFar.bytes < 8 * MIB, `${largeFar.bytes} bytes of the large stream came first`);
  t.is(await largeFar.finished, 'end');
  t.is(largeFar.bytes, 32 * MIB);
});

test('200 streams carry their bytes both ways unchanged, in chunks of all sizes', async (t) => {
  const { laptop } = await sessionPair(
    t,
    {},
    {
      incoming: (incoming) => {
        const stream = incoming.accept();
        stream.attach({
          data: (chunk) => {
            stream.write(chunk);
            stream.consumed(chunk.length);
          },
          end: () => stream.end(),
          reset: () => undefined,
          drain: () => undefined,
        });
      },
    },
    { window: 50_000 },
  );
  const digests = await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const stream = await laptop.open(request);
      const recorder = new Recorder(stream);
      const bytes = randomBytes(150_000);
      const step = 1 + ((index * 7919) % 40_000);
      const size = Math.max(step, 50);
      for (let offset = 0; offset < bytes.length; offset += size) stream.write(bytes.subarray(offset, offset + size));
      stream.end();
      t.is(await recorder.finished, 'end');
      return [bytes, Buffer.concat(recorder.chunks)].map((all) => createHash('sha256').update(all).digest('hex'));
    }),
  );
  for (const [sent, received] of digests) t.is(received, sent);
  t.is(laptop.activeStreams, 0);
});
