import { EventEmitter } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { holdUntilHeard } from '../../../../src/simulator/machine/held-events.ts';

test('what is told while nobody listens is given to the first who does, in order, and nothing twice', async (t) => {
  const emitter = new EventEmitter();
  holdUntilHeard(emitter, 'message');
  emitter.emit('message', 1, 'a');
  emitter.emit('message', 2, 'b');
  emitter.on('other', () => undefined);
  const heard: unknown[][] = [];
  emitter.on('message', (...values: unknown[]) => heard.push(values));
  await turn();
  await turn();
  emitter.emit('message', 3, 'c');
  t.deepEqual(heard, [
    [1, 'a'],
    [2, 'b'],
    [3, 'c'],
  ]);
});
