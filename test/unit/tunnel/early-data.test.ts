import test from 'ava';
import { acceptSession, newSessionId, OpenError, type IncomingStream } from '../../../src/tunnel/index.ts';
import { limits } from '../../../src/tunnel/frames.ts';
import { encodeHello, readHello } from '../../../src/tunnel/hello.ts';
import { handlers, podHello, Recorder, request, sessionPair, socketPair } from './pair.ts';

/** Takes the streams that come, for the test to answer. */
function waiting() {
  const streams: IncomingStream[] = [];
  const waiters: ((stream: IncomingStream) => void)[] = [];
  return {
    incoming: (stream: IncomingStream): void => {
      const take = waiters.shift();
      if (take === undefined) streams.push(stream);
      else take(stream);
    },
    next: async (): Promise<IncomingStream> => streams.shift() ?? new Promise((resolve) => waiters.push(resolve)),
  };
}

test('what is sent before the answer is the beginning of the stream, once it is accepted, and counts as its credit', async (t) => {
  const far = waiting();
  const { laptop } = await sessionPair(t, {}, { incoming: far.incoming }, { window: 100_000 });
  const opening = laptop.beginOpen(request);
  t.is(opening.earlyRoom, limits.earlyBytes);
  opening.sendEarly(Buffer.from('first, '));
  const incoming = await far.next();
  opening.sendEarly(Buffer.from('second, '));
  t.is(opening.earlyRoom, limits.earlyBytes - 15);
  t.throws(() => opening.sendEarly(Buffer.alloc(limits.earlyBytes)), { instanceOf: RangeError });
  // It has come, and nobody has been given it.
  await laptop.request('after', {});
  const accepted = incoming.accept();
  const receiver = new Recorder(accepted, false);
  const stream = await opening.answer;
  t.is(opening.earlyRoom, 0);
  stream.attach({ data: () => undefined, end: () => undefined, reset: () => undefined, drain: () => undefined });
  stream.write(Buffer.alloc(150_000, 'x'));
  await receiver.until(() => receiver.bytes === 100_000);
  t.true(receiver.text.startsWith('first, second, xxx'));
  accepted.consumed(100_000);
  await receiver.until(() => receiver.bytes === 150_015);
  stream.end();
  t.is(await receiver.finished, 'end');
});

test('a small window is less than filled by early data', async (t) => {
  const far = waiting();
  const { laptop } = await sessionPair(t, {}, { incoming: far.incoming }, { window: 100 });
  const opening = laptop.beginOpen(request);
  t.is(opening.earlyRoom, 99);
  opening.sendEarly(Buffer.alloc(99));
  const receiver = new Recorder((await far.next()).accept());
  await receiver.until(() => receiver.bytes === 99);
  (await opening.answer).reset();
  t.is(await receiver.finished, 'peer');
});

test('early data of what is refused, or given up, is dropped, and the session goes on', async (t) => {
  const far = waiting();
  const { laptop, pod } = await sessionPair(t, {}, { incoming: far.incoming });
  const refused = laptop.beginOpen(request);
  refused.sendEarly(Buffer.from('x'));
  (await far.next()).refuse('refused', 'nobody listens');
  refused.sendEarly(Buffer.from('crosses the refusal'));
  const error = await t.throwsAsync(refused.answer, { instanceOf: OpenError });
  t.is(error?.errorClass, 'refused');

  const controller = new AbortController();
  const aborted = laptop.beginOpen(request, { signal: controller.signal });
  aborted.sendEarly(Buffer.from('x'));
  const incoming = await far.next();
  controller.abort();
  await t.throwsAsync(aborted.answer, { instanceOf: OpenError });
  await laptop.request('after', {});
  t.true(incoming.signal.aborted);

  const opening = laptop.beginOpen(request);
  opening.sendEarly(Buffer.from('fine'));
  const receiver = new Recorder((await far.next()).accept());
  await receiver.until(() => receiver.text === 'fine');
  t.is(pod.activeStreams, 1);
});

test('a far end of before early data is sent none', async (t) => {
  const [near, far] = await socketPair();
  const accepting = acceptSession(far, podHello, handlers());
  near.write(encodeHello({ session: newSessionId(), role: 'laptop', software: '0', name: 'x', window: 1000, features: ['datagrams'] }));
  await readHello(near, 'a pod', AbortSignal.timeout(5000));
  await using session = await accepting;
  near.resume();
  const opening = session.beginOpen(request);
  t.is(opening.earlyRoom, 0);
  near.destroy();
  await t.throwsAsync(opening.answer, { instanceOf: OpenError });
});
