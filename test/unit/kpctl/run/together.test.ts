import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { together } from '../../../../src/kpctl/run/together.ts';

const never = { signal: new AbortController().signal };

test('steps beside each other answer together', async (t) => {
  t.deepEqual(await together(() => [Promise.resolve(1), Promise.resolve('two')], never), [1, 'two']);
});

test('when one step fails the others are given up, and have put back what they did before it is told', async (t) => {
  const events: string[] = [];
  const change = async (signal: AbortSignal): Promise<void> => {
    events.push('changed');
    try {
      await delay(60_000, undefined, { signal });
    } finally {
      await delay(10);
      events.push('put back');
    }
  };
  const failing = together(({ signal }) => [change(signal), Promise.reject(new Error('no namespaces'))], never);
  await t.throwsAsync(failing, { message: 'no namespaces' });
  t.deepEqual(events, ['changed', 'put back']);
});

test('an interruption reaches all steps', async (t) => {
  const interrupted = new AbortController();
  const steps = together(({ signal }) => [delay(60_000, undefined, { signal }), delay(60_000, undefined, { signal })], interrupted);
  interrupted.abort(new Error('interrupted'));
  await t.throwsAsync(steps, { name: 'AbortError' });
});
