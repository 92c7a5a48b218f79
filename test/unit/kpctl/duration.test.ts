import test from 'ava';
import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../../../src/kpctl/duration.ts';

test('times as kubectl takes them', (t) => {
  t.is(parseDuration('90s'), 90_000);
  t.is(parseDuration('1h30m'), 5_400_000);
  t.is(parseDuration('10'), 10_000);
  for (const wrong of ['', '0', '5y', 's', '1m x', '-1s', '999h'])
    t.throws(() => parseDuration(wrong), { instanceOf: InvalidArgumentError });
});
