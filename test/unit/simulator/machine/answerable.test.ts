import test from 'ava';
import { Answerable } from '../../../../src/simulator/machine/helper/answerable.ts';

test('only what was taken may be answered, and the least recently used is forgotten first', (t) => {
  const answerable = new Answerable(2);
  const [a, b, c] = [Buffer.from('a'), Buffer.from('b'), Buffer.from('c')];
  t.false(answerable.has(a));
  answerable.taken(a);
  answerable.taken(b);
  answerable.taken(a);
  answerable.taken(c);
  t.true(answerable.has(a));
  t.false(answerable.has(b));
  t.true(answerable.has(c));
});
