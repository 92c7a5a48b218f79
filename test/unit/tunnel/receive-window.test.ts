import { limits } from '../../../src/tunnel/frames.ts';
import { ReceiveWindows, type ReceiveWindow } from '../../../src/tunnel/receive-window.ts';
import { acceptor, request, sessionPair, test } from './pair.ts';

test('credit is returned half a window at a time', (t) => {
  const window = new ReceiveWindows(1000).open();
  t.true(window.received(1000));
  t.is(window.consumed(499), 0);
  t.is(window.consumed(1), 500);
  t.is(window.consumed(500), 500);
});

test('more than was granted is told', (t) => {
  const window = new ReceiveWindows(1000).open();
  t.true(window.received(1000));
  t.false(window.received(1));
});

test('a sender without credit is given twice as much while the reader keeps pace, up to the limit', (t) => {
  const window = new ReceiveWindows(1024 * 1024).open();
  let size = 1024 * 1024;
  while (size < limits.windowBytes) {
    window.received(size);
    t.is(window.consumed(size), size);
    t.is(window.exhausted(), size);
    size *= 2;
  }
  window.received(size);
  window.consumed(size);
  t.is(window.exhausted(), 0);
});

test('a window does not grow for a reader that is slow', (t) => {
  const window = new ReceiveWindows(1000).open();
  window.received(1000);
  window.consumed(499);
  t.is(window.exhausted(), 0);
});

test('the windows of a session grow by so much together, and what a stream took comes back with its end', (t) => {
  const share = limits.windowBytes / 2;
  const windows = new ReceiveWindows(share);
  const grown = (): ReceiveWindow => {
    const window = windows.open();
    window.received(share);
    window.consumed(share);
    return window;
  };
  const first = Array.from({ length: limits.windowGrowthBytes / share }, grown);
  for (const window of first) t.is(window.exhausted(), share);
  const late = grown();
  t.is(late.exhausted(), 0);
  first[0]?.release();
  first[0]?.release();
  t.is(late.exhausted(), share);
  t.is(grown().exhausted(), 0);
});

test('on the wire: the window of a stream whose reader keeps pace grows, and that of another one does not', async (t) => {
  const far = acceptor();
  const { laptop } = await sessionPair(t, {}, { incoming: far.incoming }, { window: 100_000 });
  const near = await laptop.open(request);
  near.attach({ data: () => undefined, end: () => undefined, reset: () => undefined, drain: () => undefined });
  const stream = await far.next();
  const first = Promise.withResolvers<void>();
  let received = 0;
  stream.attach({
    data: (chunk) => {
      received += chunk.length;
      if (received > 100_000) return;
      stream.consumed(chunk.length);
      if (received === 100_000) first.resolve();
    },
    end: () => undefined,
    reset: () => undefined,
    drain: () => undefined,
  });
  near.write(Buffer.alloc(100_000));
  await first.promise;
  near.write(Buffer.alloc(1_000_000));
  // What has been consumed and not returned, less than half of the window, is not there for the sender yet.
  const outstanding = await settled(async () => {
    await laptop.request('after', {});
    return received;
  });
  t.true(outstanding - 100_000 > 150_000, `${outstanding} bytes`);
  t.true(outstanding - 100_000 <= 200_000, `${outstanding} bytes`);
});

/** The value once it has been the same ten times. */
async function settled(value: () => Promise<number>): Promise<number> {
  let [last, same] = [await value(), 0];
  while (same < 10) {
    const next = await value();
    same = next === last ? same + 1 : 0;
    last = next;
  }
  return last;
}
