import test from 'ava';
import { stalledReader } from '../../bench/stalled-reader.ts';

const MIB = 2 ** 20;

test('a reader that stops costs neither end much memory, across two processes', async (t) => {
  const { received, growth } = await stalledReader(256 * MIB, 500, 0);
  t.is(received, 256 * MIB);
  for (const [index, end] of ['laptop', 'pod'].entries()) {
    const grown = (growth[index] ?? Infinity) / MIB;
    t.true(grown < 48, `the ${end}'s end grew by ${grown.toFixed(1)} MiB`);
  }
});
