import test from 'ava';
import { leases, type Lease } from '../../../../src/cluster/leases.ts';
import { SilentLeases } from '../../../../src/operator/replace/silent-leases.ts';

function lease(renewTime: string, name = 'one'): Lease {
  return leases.parse({ metadata: { name, namespace: 'shop', uid: name }, spec: { leaseDurationSeconds: 20, renewTime } });
}

function verdicts(silent: SilentLeases, present: readonly Lease[], now: number): string[] {
  return silent.look(present, now).map(({ lease: { metadata }, verdict }) => `${metadata.name} ${verdict}`);
}

test('a Lease that is renewed is never silent, whatever time the laptop thinks it is', (t) => {
  const silent = new SilentLeases();
  for (let now = 0; now < 600_000; now += 5_000) t.deepEqual(verdicts(silent, [lease(`1970-01-01T00:00:${now}`)], now), []);
});

test('a Lease that is not renewed is asked for after its time, and has lapsed when it still was not ten seconds later', (t) => {
  const silent = new SilentLeases();
  const only = lease('a');
  t.deepEqual(verdicts(silent, [only], 0), []);
  t.deepEqual(verdicts(silent, [only], 19_999), []);
  t.deepEqual(verdicts(silent, [only], 20_000), ['one ask']);
  silent.answered(only, 20_000);
  t.deepEqual(verdicts(silent, [only], 29_999), []);
  t.deepEqual(verdicts(silent, [only], 30_000), ['one lapsed']);
});

test('an answer that shows a renewal gives it its whole time anew', (t) => {
  const silent = new SilentLeases();
  verdicts(silent, [lease('a')], 0);
  t.deepEqual(verdicts(silent, [lease('a')], 25_000), ['one ask']);
  silent.answered(lease('b'), 25_000);
  t.deepEqual(verdicts(silent, [lease('b')], 44_999), []);
  t.deepEqual(verdicts(silent, [lease('b')], 45_000), ['one ask']);
});

test('when the API server was away, nobody is blamed', (t) => {
  const silent = new SilentLeases();
  verdicts(silent, [lease('a')], 0);
  silent.forgive(25_000);
  t.deepEqual(verdicts(silent, [lease('a')], 44_999), []);
  t.deepEqual(verdicts(silent, [lease('a')], 45_000), ['one ask']);
});

test('a Lease of the same name that somebody else has taken since has its own time', (t) => {
  const silent = new SilentLeases();
  verdicts(silent, [lease('a')], 0);
  const taken = leases.parse({ metadata: { name: 'one', namespace: 'shop', uid: 'another' }, spec: { renewTime: 'a' } });
  t.deepEqual(verdicts(silent, [taken], 20_000), []);
});
