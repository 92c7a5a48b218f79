import test from 'ava';
import { Progress } from '../../../src/kpctl/terminal-progress.ts';

/** What a terminal is told, and a promise for the next time. */
class Listener {
  readonly lines: string[] = [];
  #next = Promise.withResolvers<undefined>();

  readonly hear = (line: string | undefined): void => {
    this.lines.push(line ?? '(nothing)');
    this.#next.resolve(undefined);
    this.#next = Promise.withResolvers<undefined>();
  };

  async next(): Promise<void> {
    await this.#next.promise;
  }
}

/** The timer of a Progress does not hold the process. */
const held = setInterval(() => undefined, 1_000);
test.after(() => clearInterval(held));

test('what is over soon is not told', (t) => {
  const listener = new Listener();
  using progress = new Progress({ progress: listener.hear, live: listener.hear }, 'waiting');
  progress.update('waiting more');
  progress.done();
  t.deepEqual(listener.lines, []);
});

test('on a terminal there is one line, which is overwritten and taken away', async (t) => {
  const progress = new Listener();
  const live = new Listener();
  using waiting = new Progress({ progress: progress.hear, live: live.hear }, 'waiting', 5);
  await live.next();
  t.is(live.lines[0], 'waiting … 0 s');
  waiting.update('waiting: 1 of 2');
  t.is(live.lines.at(-1), 'waiting: 1 of 2 … 0 s');
  waiting.done('2 of 2 are ready');
  t.is(live.lines.at(-1), '(nothing)');
  t.deepEqual(progress.lines, ['2 of 2 are ready']);
  const told = live.lines.length;
  waiting.update('too late');
  t.is(live.lines.length, told);
});

test('elsewhere there is a line when the text has changed', async (t) => {
  const listener = new Listener();
  using waiting = new Progress({ progress: listener.hear }, 'waiting', 5);
  await listener.next();
  waiting.update('first');
  waiting.update('second');
  await listener.next();
  t.deepEqual(listener.lines, ['waiting', 'second']);
  waiting.done();
});
