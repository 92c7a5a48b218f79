import test from 'ava';
import { lookUpBySystem } from '../../../../src/kpctl/doctor/system-lookup.ts';

test('a name that the system knows is found', async (t) => {
  await t.notThrowsAsync(lookUpBySystem('localhost', 20_000));
});

test('a name that is none fails with what the system says', async (t) => {
  await t.throwsAsync(lookUpBySystem('no such name', 20_000), { message: /no such name/u });
});

test('a look-up is given up at its deadline', async (t) => {
  await t.throwsAsync(lookUpBySystem('localhost', 1), { message: 'no answer in 0.001 s' });
});
