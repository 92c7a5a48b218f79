import test from 'ava';
import { formatCidr, parseCidr, type Cidr } from '../../../src/platform/cidr.ts';
import { SyntheticAddresses, chooseSyntheticRanges, type SyntheticOptions } from '../../../src/simulator/synthetic-addresses.ts';

const cidrs = (...texts: string[]): Cidr[] => texts.flatMap((text) => parseCidr(text) ?? []);
const make = (options: Partial<SyntheticOptions> = {}): SyntheticAddresses =>
  new SyntheticAddresses({ ranges: chooseSyntheticRanges([]), isSwitched: (address) => !address.startsWith('192.'), ...options });

test('198.18.0.0/15 and a unique local /64, or others where a route has those', (t) => {
  const chosen = (...taken: string[]): string[] =>
    Object.values(chooseSyntheticRanges(cidrs(...taken))).map((one: Cidr) => formatCidr(one));
  t.deepEqual(chosen('10.0.0.0/8'), ['198.18.0.0/15', 'fd6b:7065:6572::/64']);
  t.deepEqual(chosen('198.18.7.0/24', 'fd6b:7065:6572::/56'), ['198.19.0.0/16', 'fd6b:7065:6573::/64']);
  t.deepEqual(chosen('198.0.0.0/8', '100.64.0.0/10'), ['10.253.0.0/16', 'fd6b:7065:6572::/64']);
  t.throws(() => chosen('0.0.0.0/1', '128.0.0.0/1'), { code: 'SYNTHETIC_RANGE_TAKEN' });
});

test('a switched address has a synthetic one that maps back, the same in every run; others stay', (t) => {
  const addresses = make();
  for (const address of ['10.96.0.10', '10.244.3.4', 'fd00:96::7']) {
    const synthetic = addresses.toLocal(address);
    t.not(synthetic, address);
    t.true(addresses.isSynthetic(synthetic));
    t.is(addresses.toCluster(synthetic), address);
    t.is(addresses.toLocal(address), synthetic);
    t.is(make().toLocal(address), synthetic, 'another run');
  }
  t.is(addresses.toLocal('fd00:0096:0:0::7'), addresses.toLocal('fd00:96::7'));
  t.is(addresses.toLocal('192.0.2.1'), '192.0.2.1');
  t.is(addresses.toCluster('192.0.2.1'), undefined);
  t.is(addresses.toCluster('198.18.77.77'), undefined, 'it stands for nothing');
  t.true(addresses.isSynthetic('198.18.77.77'));
});

test("ten thousand addresses have one each, none of those that run and up have for themselves, none like a network's own or its broadcast", (t) => {
  const addresses = make();
  const seen = new Map<string, string>();
  for (let index = 0; index < 10_000; index += 1) {
    const cluster = `10.96.${index >> 8}.${index & 0xff}`;
    seen.set(addresses.toLocal(cluster), cluster);
  }
  t.is(seen.size, 10_000);
  t.false([...seen.keys()].some((address) => /^198\.18\.0\.|^198\.19\.255\.|\.0$|\.255$/.test(address)));
  t.true([...seen].every(([synthetic, cluster]) => addresses.toCluster(synthetic) === cluster));
});

test('when all are taken, the one used the longest time ago is given up, but none that is open or may be remembered', (t) => {
  let now = 0;
  const open = new Set<string>();
  const addresses = make({ capacity: 3, keepMilliseconds: 1000, now: () => now, isInUse: (address) => open.has(address) });
  const [first = '', second = '', third = ''] = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((address) => addresses.toLocal(address));
  t.throws(() => addresses.toLocal('10.0.0.4'), { code: 'SYNTHETIC_EXHAUSTED' });
  now = 900;
  addresses.toCluster(first); // a flow to it
  open.add(second);
  now = 1500;
  addresses.toLocal('10.0.0.4');
  t.is(addresses.toCluster(third), undefined, 'unused for the longest time and not open');
  t.is(addresses.toCluster(second), '10.0.0.2');
  t.is(addresses.toCluster(first), '10.0.0.1');
  t.is(addresses.size, 3);
});
