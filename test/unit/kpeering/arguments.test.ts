import test from 'ava';
import { parseOrder } from '../../../src/kpeering/arguments.ts';
import { Failure } from '../../../src/platform/errors.ts';
import { ports } from '../../../src/platform/ports.ts';

const role = { tunnelPort: ports.tunnel, healthPort: ports.health, healthHost: '::', drainSeconds: 25 };

test('the command line comes before the environment, and that before the defaults', (t) => {
  t.deepEqual(parseOrder(['gateway'], {}), { command: 'gateway', ...role });
  const environment = { KPEERING_TUNNEL_PORT: '1', KPEERING_GRACE_SECONDS: '0.5', KPEERING_HEALTH_PORT: '' };
  t.deepEqual(parseOrder(['sidecar', '--tunnel-port', '2', '--drain-seconds=0'], environment), {
    command: 'sidecar',
    ...role,
    tunnelPort: 2,
    drainSeconds: 0,
    inboundPort: ports.inbound,
    graceSeconds: 0.5,
    outbound: true,
  });
});

test('an ephemeral one stays for an hour, unless it is told otherwise', (t) => {
  const attached = { ...role, graceSeconds: 10, outbound: true };
  t.deepEqual(parseOrder(['ephemeral'], {}), { command: 'ephemeral', ...attached, idleSeconds: 3600 });
  t.like(parseOrder(['ephemeral', '--idle-seconds', '60'], { KPEERING_IDLE_SECONDS: '5' }), { idleSeconds: 60 });
  t.throws(() => parseOrder(['sidecar', '--idle-seconds', '60'], {}), { message: /Unknown option '--idle-seconds'/u });
});

test('what is wrong is named, with exit code 2', (t) => {
  for (const [argv, message] of [
    [['sidecar', '--inbound-port', '65536'], '--inbound-port: "65536" is not a port'],
    [['sidecar', '--grace-seconds', ''], '--grace-seconds: "" is not a number of seconds'],
    [['gateway', '--inbound-port', '1'], /Unknown option '--inbound-port'/u],
    [['gateway', 'more'], /Unexpected argument 'more'/u],
    [['nonsense'], 'there is no command "nonsense"'],
  ] as const) {
    const error = t.throws(() => parseOrder(argv, {}), { instanceOf: Failure, message });
    t.is(error?.exitCode, 2);
  }
  t.throws(() => parseOrder(['sidecar'], { KPEERING_DRAIN_SECONDS: 'soon' }), {
    message: 'KPEERING_DRAIN_SECONDS: "soon" is not a number of seconds',
  });
});

test('help names every option with its variable', (t) => {
  for (const argv of [[], ['--help'], ['help']]) t.is(parseOrder(argv, {}).command, 'help');
  const help = parseOrder(['sidecar', '-h'], {});
  t.true(help.command === 'help' && help.text.includes('--grace-seconds <seconds>') && help.text.includes('$KPEERING_HEALTH_HOST'));
});
