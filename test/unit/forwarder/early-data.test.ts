import { once } from 'node:events';
import type { Socket } from 'node:net';
import test from 'ava';
import { openWithEarlyData, spliceStream } from '../../../src/forwarder/index.ts';
import type { IncomingStream } from '../../../src/tunnel/index.ts';
import { Recorder, request, sessionPair, socketPair } from '../tunnel/pair.ts';

/** All that a socket says until it half-closes. */
async function textOf(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) text += String(chunk);
  return text;
}

/** A caller, the socket that was captured, and what comes at the far end before it is answered. */
async function scene(t: Parameters<typeof sessionPair>[0]) {
  const arrived = Promise.withResolvers<IncomingStream>();
  const pair = await sessionPair(t, {}, { incoming: arrived.resolve });
  const [caller, socket] = await socketPair();
  t.teardown(() => caller.destroy());
  for (const one of [caller, socket]) one.on('error', () => undefined);
  return { ...pair, caller, socket, arrived: arrived.promise };
}

test('what a caller says at once goes with the opening, and what it says later follows, in order, to its end', async (t) => {
  const { laptop, caller, socket, arrived } = await scene(t);
  caller.write('one ');
  await once(socket, 'readable');
  const opened = openWithEarlyData(laptop, request, socket);
  const incoming = await arrived;
  // Far more than is sent early.
  const bulk = 'x'.repeat(300_000);
  caller.write(bulk);
  caller.end(' end');
  await laptop.request('after', {});
  const accepted = incoming.accept();
  const receiver = new Recorder(accepted);
  const spliced = spliceStream(socket, await opened);
  t.is(await receiver.finished, 'end');
  t.true(receiver.text === `one ${bulk} end`);
  accepted.write(Buffer.from('answer'));
  accepted.end();
  t.is(await textOf(caller), 'answer');
  t.like(await spliced, { ended: { kind: 'finished' } });
});

test('a caller that half-closes before the answer, with and without a word, is spliced to its end', async (t) => {
  for (const word of ['', 'a word']) {
    const { laptop, caller, socket, arrived } = await scene(t);
    caller.end(word);
    const opened = openWithEarlyData(laptop, request, socket);
    const incoming = await arrived;
    await laptop.request('after', {});
    const receiver = new Recorder(incoming.accept());
    void spliceStream(socket, await opened);
    t.is(await receiver.finished, 'end');
    t.is(receiver.text, word);
  }
});
