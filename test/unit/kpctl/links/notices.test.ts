import test from 'ava';
import { Notices } from '../../../../src/kpctl/links/notices.ts';

test('a kind of notice is printed at most every ten seconds, with how often it happened meanwhile', (t) => {
  const lines: string[] = [];
  let now = 1_000;
  const notices = new Notices(
    (line) => void lines.push(line),
    () => now,
  );
  notices.once('a', 'a failed');
  notices.once('a', 'a failed');
  notices.once('b', 'b failed');
  now += Notices.interval - 1;
  notices.once('a', 'a failed');
  t.deepEqual(lines, ['a failed', 'b failed']);
  now += 1;
  notices.once('a', 'a failed');
  t.is(lines.at(-1), 'a failed (and 2 more before)');
  now += Notices.interval;
  notices.once('a', 'a failed');
  t.is(lines.at(-1), 'a failed');
});
