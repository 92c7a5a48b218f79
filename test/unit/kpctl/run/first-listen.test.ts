import test from 'ava';
import { FirstListen } from '../../../../src/kpctl/run/first-listen.ts';

const never = new AbortController().signal;

test('callers of a port wait until the command listens there for the first time', async (t) => {
  const first = new FirstListen([8080, 9090]);
  const order: string[] = [];
  const waiting = first.wait(8080, never).then(() => order.push('let in'));
  first.changed([9090]);
  await Promise.resolve();
  order.push('other port');
  first.changed([8080, 9090]);
  await waiting;
  t.deepEqual(order, ['other port', 'let in']);
});

test('once it has listened nobody waits, also when it has closed since', async (t) => {
  const first = new FirstListen([8080]);
  first.changed([8080]);
  first.changed([]);
  await first.wait(8080, never);
  t.pass();
});

test('a port that was not asked for is never waited for', async (t) => {
  await new FirstListen([8080]).wait(1234, never);
  t.pass();
});

test('the wait is bounded by the time since the start, and ends with the caller', async (t) => {
  const first = new FirstListen([8080], 50);
  const began = performance.now();
  await first.wait(8080, never);
  t.true(performance.now() - began >= 45);
  const again = performance.now();
  await first.wait(8080, never);
  t.true(performance.now() - again < 40, 'the time was up already');
  const caller = new AbortController();
  const gone = new FirstListen([8080]).wait(8080, caller.signal);
  caller.abort();
  await t.throwsAsync(gone, { name: 'AbortError' });
});
