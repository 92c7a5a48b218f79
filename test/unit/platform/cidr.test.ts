import test from 'ava';
import { AddressSet, CidrIndex, aggregate, formatCidr, parseCidr, subtract, type Cidr } from '../../../src/platform/cidr.ts';

const cidr = (text: string): Cidr => {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`${text} is no network`);
  return parsed;
};
const written = (cidrs: Iterable<Cidr>): string[] => [...cidrs].map((one) => formatCidr(one));

test('networks are written in one way, whatever way they came', (t) => {
  const pairs = [
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['255.255.255.255/32', '255.255.255.255/32'],
    ['FD00:0:0::1/16', 'fd00::/16'],
    ['fd00::1.2.3.4', 'fd00::102:304/128'],
    ['::/0', '::/0'],
    ['1:2:3:4:5:6:7:8/127', '1:2:3:4:5:6:7:8/127'],
    ['::ffff:10.0.0.1', '10.0.0.1/32'],
  ] as const;
  for (const [text, expected] of pairs) t.is(formatCidr(cidr(text)), expected);
  for (const text of [
    '',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0/8',
    'fd00::/129',
    'x',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    'fe80::1%eth0',
    '::ffff:10.0.0.0/104',
  ]) {
    t.is(parseCidr(text), undefined, text);
  }
});

test('the fewest networks with the same addresses', (t) => {
  const texts = [
    '10.0.1.0/24',
    '10.0.0.0/24',
    '10.0.2.0/23',
    'fd00::/65',
    'fd00::8000:0:0:0/65',
    '10.0.0.7',
    '192.168.0.0/24',
    '192.168.2.0/24',
  ];
  t.deepEqual(written(aggregate(texts.map(cidr))), ['10.0.0.0/22', '192.168.0.0/24', '192.168.2.0/24', 'fd00::/64']);
  t.deepEqual(written(aggregate(['0.0.0.0/1', '128.0.0.0/1', '10.0.0.0/8'].map(cidr))), ['0.0.0.0/0']);
});

test('networks without the addresses of others', (t) => {
  t.deepEqual(written(subtract([cidr('10.0.0.0/22')], [cidr('10.0.1.0/24'), cidr('11.0.0.0/8')])), ['10.0.0.0/24', '10.0.2.0/23']);
  t.deepEqual(written(subtract([cidr('10.0.0.0/24')], [cidr('10.0.0.0/8')])), []);
  t.deepEqual(written(subtract([cidr('10.0.0.0/30'), cidr('fd00::/126')], [cidr('10.0.0.1'), cidr('fd00::2/127')])), [
    '10.0.0.0/32',
    '10.0.0.2/31',
    'fd00::/127',
  ]);
  const addresses = Array.from({ length: 5000 }, (_, index) => cidr(`10.${index % 250}.${Math.floor(index / 250)}.9`));
  t.deepEqual(subtract(addresses, addresses), []);
});

test('an index and a set know what is in them, in both families', (t) => {
  const texts = ['10.0.0.0/8', '192.0.2.7', 'fd00::/64', 'fd01::1'];
  const index = new CidrIndex(texts.map(cidr));
  const set = new AddressSet(texts.map(cidr));
  for (const address of ['10.255.255.255', '192.0.2.7', 'fd00::ffff', 'fd01::1', 'FD01:0::1', '::ffff:192.0.2.7']) {
    t.true(set.has(address), address);
    t.true(index.contains(cidr(address)), address);
  }
  for (const address of ['11.0.0.0', '192.0.2.8', 'fd00:0:0:1::', 'fd01::2', '::a00:1']) {
    t.false(set.has(address), address);
    t.false(index.contains(cidr(address)), address);
  }
  t.false(set.has('nonsense'));
  t.false(index.contains(cidr('10.0.0.0/7')));
  t.true(index.contains(cidr('10.9.0.0/16')));
});
