import test from 'ava';
import { captureRules, setStatements } from '../../../../src/simulator/machine/rules.ts';
import { parseNetworks } from '../../../../src/simulator/machine/networks.ts';

const both = { local: { 4: 1001, 6: 1002 }, containers: { 4: 1003, 6: 1004 }, containerNames: { 4: 1005, 6: 1006 } };

test('all is in a table that ends with its owner', (t) => {
  const [first, ...rest] = captureRules(both);
  t.is(first, 'add table inet kpctl { flags owner; }');
  t.true(rest.every((statement) => / inet kpctl /u.test(statement)));
});

test("kpctl's own group, what is not unicast and what is never captured come before what is captured", (t) => {
  for (const chain of ['calls', 'datagrams']) {
    const rules = captureRules(both).filter((statement) => statement.startsWith(`add rule inet kpctl ${chain} `));
    const captured = rules.findIndex((rule) => rule.includes('@capture'));
    for (const first of ['@never4', '@never6', 'fib daddr type { local, broadcast, multicast }']) {
      const index = rules.findIndex((rule) => rule.includes(first));
      t.true(index !== -1 && index < captured, `${chain}: ${first}`);
    }
  }
  t.true(captureRules(both).includes('add rule inet kpctl calls meta skgid 15300 return'));
});

test('a connection is captured by its first packet only', (t) => {
  const captured = captureRules(both).filter((rule) => /@capture\d.*(redirect|dnat)/u.test(rule) && !rule.includes('udp'));
  t.is(captured.length, 4);
  t.true(captured.every((rule) => rule.includes('tcp flags & (fin | syn | rst | ack) == syn')));
});

test('a machine without IPv6 has no rule to a listener of that', (t) => {
  const rules = captureRules({ local: { 4: 1001 }, containers: { 4: 1003 }, containerNames: { 4: 1005 } });
  t.false(rules.some((rule) => /undefined|::1\]|dnat ip6/u.test(rule)));
});

test('the sets are filled in one transaction, each address once', (t) => {
  const networks = parseNetworks({ capture: ['10.96.0.0/16', '10.96.3.0/24', 'fd12::/64'], never: ['10.96.0.1'] });
  t.deepEqual(setStatements(networks), [
    'flush set inet kpctl capture4',
    'add element inet kpctl capture4 { 10.96.0.0/16 }',
    'flush set inet kpctl never4',
    'add element inet kpctl never4 { 10.96.0.1/32 }',
    'flush set inet kpctl capture6',
    'add element inet kpctl capture6 { fd12::/64 }',
    'flush set inet kpctl never6',
  ]);
});

test('what is no network is refused, whatever it would do to nft or ip', (t) => {
  for (const network of ['10.0.0.0/8 }; flush ruleset; #', '10.0.0.0/33', 'example.com', '', '10.0.0.0/8\n']) {
    t.throws(() => parseNetworks({ capture: [network], never: [] }), { code: 'NETWORK_INVALID' }, network);
  }
});
