import test from 'ava';
import { Backoff } from '../../../../src/kpctl/links/backoff.ts';

test('waits double from 200 ms to 5 s, each varied by a fifth, for as long as it takes', (t) => {
  const backoff = new Backoff();
  const expected = [200, 400, 800, 1_600, 3_200, ...Array.from({ length: 100 }, () => 5_000)];
  for (const middle of expected) {
    const wait = backoff.next();
    t.true(wait >= middle * 0.8 && wait <= middle * 1.2, `${wait} for ${middle}`);
  }
});

test('two laptops do not wait alike', (t) => {
  const waits = Array.from({ length: 20 }, () => new Backoff().next());
  t.true(new Set(waits).size > 1);
});

test('a wait ends when the signal aborts', async (t) => {
  const backoff = new Backoff();
  await t.throwsAsync(backoff.wait({ signal: AbortSignal.abort() }), { name: 'AbortError' });
});
