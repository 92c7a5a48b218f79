import { once } from 'node:events';
import { acceptSession, connectSession, newSessionId, OpenError, RequestError, VersionError } from '../../../src/tunnel/index.ts';
import type { IncomingStream } from '../../../src/tunnel/types.ts';
import { encodeHello, type Hello } from '../../../src/tunnel/hello.ts';
import { acceptor, breakOff, chunkOf, handlers, laptopHello, podHello, Recorder, request, sessionPair, socketPair, test } from './pair.ts';

const hello = { session: newSessionId(), role: 'laptop' as const, software: '9', name: 'x', window: 65_536, features: [] } satisfies Hello;

test('both ends learn the session id and who is at the other end', async (t) => {
  const { laptop, pod } = await sessionPair(t);
  t.regex(laptop.id, /^[0-9a-f]{32}$/u);
  t.is(pod.id, laptop.id);
  t.deepEqual(laptop.peer, podHello);
  t.deepEqual(pod.peer, laptopHello);
});

test('a stream carries bytes both ways and each half-close on its own', async (t) => {
  const far = acceptor();
  const { laptop, pod } = await sessionPair(t, {}, { incoming: far.incoming });
  const near = await laptop.open(request);
  const other = await far.next();
  const [atNear, atOther] = [new Recorder(near), new Recorder(other)];
  near.write(Buffer.from('hello'));
  near.end();
  t.is(await atOther.finished, 'end');
  t.is(atOther.text, 'hello');
  t.is(laptop.activeStreams, 1);
  other.write(Buffer.from('good'));
  other.write(Buffer.from('bye'));
  other.end();
  t.is(await atNear.finished, 'end');
  t.is(atNear.text, 'goodbye');
  t.is(laptop.activeStreams, 0);
  t.is(pod.activeStreams, 0);
});

for (const side of ['opener', 'accepter'] as const) {
  test(`a reset by the ${side} reaches the other end as a reset, and ends both directions`, async (t) => {
    const far = acceptor();
    const { laptop, pod } = await sessionPair(t, {}, { incoming: far.incoming });
    const [near, other] = [await laptop.open(request), await far.next()];
    const [atNear, atOther] = [new Recorder(near), new Recorder(other)];
    (side === 'opener' ? near : other).reset();
    t.is(await (side === 'opener' ? atOther : atNear).finished, 'peer');
    t.is(laptop.activeStreams + pod.activeStreams, 0);
  });
}

test('streams can be opened from the pod as well', async (t) => {
  const far = acceptor();
  const { pod } = await sessionPair(t, { incoming: far.incoming });
  const near = await pod.open({ kind: 'claimed', destination: { address: '::1', port: 80 }, source: { address: '10.1.1.1', port: 4000 } });
  near.write(Buffer.from('x'));
  near.end();
  const recorder = new Recorder(await far.next());
  t.is(await recorder.finished, 'end');
  t.is(recorder.text, 'x');
});

test('what arrives before the sink is attached is kept for it, the end included', async (t) => {
  const far = acceptor();
  const { laptop } = await sessionPair(t, {}, { incoming: far.incoming });
  const near = await laptop.open(request);
  const other = await far.next();
  near.write(Buffer.from('early'));
  near.end();
  await laptop.request('after', {});
  const recorder = new Recorder(other);
  t.is(recorder.text, 'early');
  t.is(await recorder.finished, 'end');
});

test('open is answered only when the far end accepts, with what was asked for', async (t) => {
  const { promise, resolve } = Promise.withResolvers<IncomingStream>();
  const { laptop } = await sessionPair(t, {}, { incoming: resolve });
  let opened = false;
  const opening = laptop.open({ ...request, source: { address: '127.0.0.1', port: 5 } }).then(() => (opened = true));
  const incoming = await promise;
  t.deepEqual(incoming.request, { ...request, source: { address: '127.0.0.1', port: 5 } });
  await laptop.request('after', {});
  t.false(opened);
  incoming.accept();
  await opening;
  t.throws(() => incoming.refuse('failed', 'twice'));
});

test('a refusal arrives with its class and message', async (t) => {
  const { laptop } = await sessionPair(t, {}, { incoming: (stream) => stream.refuse('refused', 'nobody listens') });
  const error = await t.throwsAsync(laptop.open(request), { instanceOf: OpenError, message: 'nobody listens' });
  t.is(error?.errorClass, 'refused');
});

test('an aborted open is rejected at once and cancels the dial at the far end', async (t) => {
  const { promise, resolve } = Promise.withResolvers<IncomingStream>();
  const { laptop, pod } = await sessionPair(t, {}, { incoming: resolve });
  const controller = new AbortController();
  const opening = laptop.open(request, { signal: controller.signal });
  const incoming = await promise;
  controller.abort();
  const error = await t.throwsAsync(opening, { instanceOf: OpenError });
  t.is(error?.errorClass, 'aborted');
  if (!incoming.signal.aborted) await once(incoming.signal, 'abort');
  const recorder = new Recorder(incoming.accept());
  t.is(await recorder.finished, 'peer');
  t.is(pod.activeStreams, 0);
});

test('requests are answered, fail with code and details, and can be given up', async (t) => {
  const { laptop, pod } = await sessionPair(
    t,
    {},
    {
      request: async (method, parameters, { signal }) => {
        if (method === 'echo') return parameters;
        if (method === 'held') throw new RequestError('held', 'taken', { details: { by: 'bob' } });
        if (method === 'wait') {
          await once(signal, 'abort');
          pod.notify('gave-up', {});
        }
        throw new Error('a bug');
      },
    },
  );
  t.deepEqual(await laptop.request('echo', { a: [1, 'ü'] }), { a: [1, 'ü'] });
  const held = await t.throwsAsync(laptop.request('held', {}), { instanceOf: RequestError, message: 'taken' });
  t.is(held?.code, 'held');
  t.deepEqual(held?.details, { by: 'bob' });
  const bug = await t.throwsAsync(laptop.request('bug', {}), { instanceOf: RequestError });
  t.is(bug?.code, 'internal');
  const large = await t.throwsAsync(laptop.request('echo', 'x'.repeat(300_000)), { instanceOf: RequestError });
  t.is(large?.code, 'too-large');
  const controller = new AbortController();
  const waiting = laptop.request('wait', {}, { signal: controller.signal });
  controller.abort();
  const aborted = await t.throwsAsync(waiting, { instanceOf: RequestError });
  t.is(aborted?.code, 'aborted');
});

test('a notice reaches the far end', async (t) => {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const { laptop } = await sessionPair(t, {}, { notified: (method, parameters) => resolve([method, parameters]) });
  laptop.notify('hi', { n: 1 });
  t.deepEqual(await promise, ['hi', { n: 1 }]);
});

test('close says goodbye: open streams are reset, what waits is rejected, twice is fine', async (t) => {
  const far = acceptor();
  const opened = Promise.withResolvers<IncomingStream>();
  let first = true;
  const { laptop, pod } = await sessionPair(
    t,
    {},
    {
      incoming: (stream) => {
        if (first) far.incoming(stream);
        else opened.resolve(stream);
        first = false;
      },
    },
  );
  const atNear = new Recorder(await laptop.open(request));
  const atOther = new Recorder(await far.next());
  const pending = laptop.open(request);
  const rejected = t.throwsAsync(pending, { instanceOf: OpenError });
  const incoming = await opened.promise;
  await Promise.all([laptop.close(), laptop.close()]);
  t.is(await atNear.finished, 'session-lost');
  t.is(await atOther.finished, 'session-lost');
  t.is((await rejected)?.errorClass, 'lost');
  t.true(incoming.signal.aborted);
  t.is((await laptop.ended).kind, 'closed');
  t.is((await pod.ended).kind, 'goodbye');
  t.is((await t.throwsAsync(laptop.open(request), { instanceOf: OpenError }))?.errorClass, 'lost');
  t.is((await t.throwsAsync(laptop.request('x', {}), { instanceOf: RequestError }))?.code, 'lost');
});

test('a transport that breaks is a loss, not a goodbye', async (t) => {
  const far = acceptor();
  const { laptop, pod, sockets } = await sessionPair(t, {}, { incoming: far.incoming });
  const recorder = new Recorder(await laptop.open(request));
  breakOff(sockets[1]);
  const ends = await Promise.all([laptop.ended, pod.ended]);
  t.deepEqual(
    ends.map(({ kind }) => kind),
    ['lost', 'lost'],
  );
  t.is(await recorder.finished, 'session-lost');
});

test('abort drops the transport without a goodbye', async (t) => {
  const { laptop, pod } = await sessionPair(t);
  laptop.abort(new Error('enough'));
  const end = await laptop.ended;
  t.is(end.kind === 'lost' ? end.cause.message : '', 'enough');
  t.is((await pod.ended).kind, 'lost');
});

test('a far end that falls silent is lost after the time without a frame', async (t) => {
  const liveness = { silenceMilliseconds: 40, deadMilliseconds: 200 };
  const [near, far] = await socketPair();
  const accepting = acceptSession(far, podHello, handlers());
  const laptop = await connectSession({ description: 'x', connect: async () => near }, { ...laptopHello, id: newSessionId() }, handlers(), {
    liveness,
  });
  const pod = await accepting;
  // Answers pings while it reads.
  await once(far, 'data');
  far.pause();
  const end = await laptop.ended;
  t.is(end.kind, 'lost');
  if (end.kind === 'lost') {
    t.regex(end.cause.message, /nothing was heard/u);
    t.is(end.lastHeard, laptop.lastHeard);
  }
  far.resume();
  await pod.ended;
  await pod.close();
});

test('an idle session lives on by its pings', async (t) => {
  const liveness = { silenceMilliseconds: 20, deadMilliseconds: 300 };
  const { laptop, sockets } = await sessionPair(t, {}, {}, { liveness });
  const before = laptop.lastHeard;
  while (laptop.lastHeard < before + 450) await once(sockets[0], 'data');
  t.is(await Promise.race([laptop.ended, Promise.resolve('alive')]), 'alive');
});

test('versions without overlap are refused on both ends, with both ranges', async (t) => {
  const [near, far] = await socketPair();
  const accepting = acceptSession(far, podHello, handlers());
  near.write(encodeHello(hello, { lowest: 3, highest: 5 }));
  const error = await t.throwsAsync(accepting, { instanceOf: VersionError });
  t.regex(error?.message ?? '', /version 1.*versions 3 to 5/u);
  const answer = await chunkOf(near);
  t.is(answer.toString('latin1', 0, 8), 'KPEERING');
  t.deepEqual([answer[8], answer[9]], [1, 1]);
  near.destroy();

  const [near2, far2] = await socketPair();
  far2.write(encodeHello(hello, { lowest: 2, highest: 2 }));
  const connecting = connectSession({ description: 'x', connect: async () => near2 }, { ...laptopHello, id: newSessionId() }, handlers());
  await t.throwsAsync(connecting, { instanceOf: VersionError });
  t.true(near2.destroyed);
  far2.destroy();
});

test('a far end that is not kpeering, closes or hangs is told apart, and the duplex is destroyed', async (t) => {
  for (const [answer, code, handshakeMilliseconds] of [
    ['HTTP/1.1 400 Bad Request\r\n\r\n', 'TUNNEL_PROTOCOL', 20_000],
    ['', 'TUNNEL_CLOSED', 20_000],
    [undefined, 'TUNNEL_TIMEOUT', 100],
  ] as const) {
    const [near, far] = await socketPair();
    if (answer !== undefined) far.end(answer);
    const connecting = connectSession(
      { description: 'web', connect: async () => near },
      { ...laptopHello, id: newSessionId() },
      handlers(),
      { handshakeMilliseconds },
    );
    await t.throwsAsync(connecting, { code });
    t.true(near.destroyed);
    far.destroy();
  }
});

test('connectSession can be aborted while it waits for the hello', async (t) => {
  const [near, far] = await socketPair();
  const controller = new AbortController();
  const connecting = connectSession({ description: 'x', connect: async () => near }, { ...laptopHello, id: newSessionId() }, handlers(), {
    signal: controller.signal,
  });
  await once(far, 'data');
  controller.abort(new Error('enough'));
  await t.throwsAsync(connecting, { message: 'enough' });
  t.true(near.destroyed);
  far.destroy();
});
