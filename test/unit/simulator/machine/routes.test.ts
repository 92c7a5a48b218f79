import test from 'ava';
import { parseNetworks } from '../../../../src/simulator/machine/networks.ts';
import { networkRoutes, policyRules, routeChanges, ruleArguments } from '../../../../src/simulator/machine/routes.ts';

test('captured networks are routed to the device, but for what is never captured', (t) => {
  const routes = networkRoutes(parseNetworks({ capture: ['10.96.0.0/30', 'fd12::/64'], never: ['10.96.0.1'] }), [4, 6]);
  t.deepEqual(
    [...routes.values()],
    [
      '10.96.0.0/32 dev kpctl0 src 198.19.255.53',
      '10.96.0.2/31 dev kpctl0 src 198.19.255.53',
      'fd12::/64 dev kpctl0 src fd6b:7065:6572:ffff::53',
    ],
  );
  t.deepEqual([...networkRoutes(parseNetworks({ capture: ['10.96.0.0/16', 'fd12::/64'], never: [] }), [4]).keys()], ['10.96.0.0/16']);
});

test('a change adds what is new before the rules follow, and removes what is gone after that', (t) => {
  const of = (...networks: string[]): Map<string, string> => networkRoutes(parseNetworks({ capture: networks, never: [] }), [4]);
  t.deepEqual(routeChanges(of('10.1.0.0/16', '10.3.0.0/16'), of('10.3.0.0/16', '10.5.0.0/16')), {
    before: 'route add 10.5.0.0/16 dev kpctl0 src 198.19.255.53 table 15300\n',
    after: 'route delete 10.1.0.0/16 dev kpctl0 src 198.19.255.53 table 15300\n',
  });
  t.deepEqual(routeChanges(of('10.1.0.0/16'), of('10.1.0.0/16')), { before: '', after: '' });
});

test('a policy rule is removed by what the journal has of it', (t) => {
  const [rule] = policyRules([6]);
  if (rule === undefined) throw new Error('no rule');
  t.deepEqual(ruleArguments('delete', rule), ['-6', 'rule', 'delete', 'priority', '5100', 'fwmark', '0x6b71', 'lookup', '15301']);
});
