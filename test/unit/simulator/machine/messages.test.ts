import test from 'ava';
import { fromAgentSchema } from '../../../../src/simulator/machine/messages.ts';

const names = { domain: 'cluster.local', search: ['shop.svc.cluster.local'], namespaces: ['shop'], networks: ['10.96.0.0/16'] };
const networks = { capture: ['10.96.0.0/16', 'fd12::/64'], never: [] };

test('the helper takes from the agent what fits, and nothing else', (t) => {
  t.true(fromAgentSchema.safeParse({ type: 'set-up', networks, names }).success);
  for (const wrong of [
    { type: 'run', command: 'sh' },
    { type: 'set-up', networks: { capture: ['10.0.0.0/8; flush ruleset'], never: [] }, names },
    { type: 'set-up', networks, names: { ...names, domain: 'cluster.local\nnameserver 6.6.6.6' } },
    { type: 'set-up', networks, names: { ...names, search: ['a b'] } },
    { type: 'set-up', networks, names: { ...names, search: ['$(reboot)'] } },
    { type: 'set-up', networks, names: { ...names, namespaces: ['-rf'] } },
    { type: 'set-names', id: 'x', names },
    { type: 'set-networks', id: 1 },
    undefined,
    'close',
  ]) {
    t.false(fromAgentSchema.safeParse(wrong).success, JSON.stringify(wrong));
  }
});
