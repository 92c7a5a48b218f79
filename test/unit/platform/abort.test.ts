import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { deadline } from '../../../src/platform/abort.ts';

setFlagsFromString('--expose-gc');
const collect = (): void => void runInNewContext('gc()');

async function aborted(signal: AbortSignal): Promise<unknown> {
  return await new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason), { once: true }));
}

test('it aborts when its time is over, or with what the signal aborts with, whichever is first', async (t) => {
  const alive = setInterval(() => {}, 10_000);
  t.teardown(() => clearInterval(alive));
  const controller = new AbortController();
  t.like(await aborted(deadline(1, controller.signal)), { name: 'TimeoutError' });
  t.like(await aborted(deadline(1)), { name: 'TimeoutError' });
  const late = deadline(60_000, controller.signal);
  const reason = new Error('over');
  controller.abort(reason);
  t.is(late.reason, reason);
  t.is(deadline(60_000, controller.signal).reason, reason);
});

test('deadlines of a signal that lives long are forgotten when they are over, also where others were made of them', async (t) => {
  const { signal } = new AbortController();
  async function many(): Promise<number> {
    for (let round = 0; round < 100; round++) {
      for (let each = 0; each < 100; each++) AbortSignal.any([deadline(20, signal), signal]);
      await setImmediate();
    }
    await sleep(100);
    collect();
    await sleep(50);
    collect();
    return process.memoryUsage().heapUsed;
  }
  await many();
  const before = await many();
  const after = await many();
  t.true(after - before < 1_000_000, `${after - before} bytes more`);
});
