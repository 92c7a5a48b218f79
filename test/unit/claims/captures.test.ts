import test from 'ava';
import { Captures } from '../../../src/claims/captures.ts';
import type { ClaimTarget } from '../../../src/claims/messages.ts';
import { assumedRules, type Rules } from '../../../src/interceptor/rules-file.ts';
import type { SwitchedInterceptor } from '../../../src/interceptor/types.ts';
import { silentLogger } from '../../../src/platform/log.ts';
import { RequestError } from '../../../src/tunnel/errors.ts';

const rules: Rules = {
  ...assumedRules(15_306, 'asked for'),
  mode: 'tproxy',
  tcp: { '8000-8080': 15_500, '80': 15_501 },
  udp: { '53': 15_500 },
  outbound: ['5432'],
};

function tcp(port: number): ClaimTarget {
  return { protocol: 'tcp', port };
}

/** Captures whose listeners note what is asked of them; `problem` is what opening throws. */
function scene(problem?: Error, given: Rules = rules) {
  const calls: string[] = [];
  const captures = new Captures({
    rules: given,
    listener: ({ protocol }, { listener }): SwitchedInterceptor => {
      const name = `${protocol}/${listener}`;
      const note = (what: string) => async (): Promise<void> => {
        calls.push(`${what} ${name}`);
        if (what === 'open' && problem !== undefined) throw problem;
      };
      return {
        description: name,
        open: note('open'),
        release: note('release'),
        close: note('close'),
        [Symbol.asyncDispose]: note('close'),
      };
    },
    isOwnPort: (port) => port === 8070,
    log: silentLogger,
  });
  return { captures, calls };
}

test('the first claim of an entry opens its listener, and the end of the last one releases it', async (t) => {
  const { captures, calls } = scene();
  await captures.hold(tcp(8001));
  await captures.hold(tcp(8002));
  await captures.hold({ protocol: 'udp', port: 53 });
  captures.drop(tcp(8001));
  t.deepEqual(calls, ['open tcp/15500', 'open tcp/15500', 'open udp/15500']);
  captures.drop(tcp(8001));
  captures.drop(tcp(8002));
  captures.drop(tcp(8002));
  t.deepEqual(calls.slice(3), ['release tcp/15500']);
});

test('what has a listener already, or none, opens none', async (t) => {
  const { captures, calls } = scene(undefined, assumedRules(15_306, 'x'));
  await captures.hold(tcp(80));
  await captures.hold({ protocol: 'tcp', port: 5432, address: '10.0.0.1' });
  captures.drop(tcp(80));
  t.deepEqual(calls, []);
});

test('a listener that cannot be opened fails the claim with what to do, and is not held by it', async (t) => {
  const { captures, calls } = scene(Object.assign(new Error('setsockopt: EPERM'), { code: 'EPERM' }));
  const error = await t.throwsAsync(captures.hold(tcp(80)), { instanceOf: RequestError, message: /NET_RAW/u });
  t.is(error.code, 'capture-failed');
  captures.drop(tcp(80));
  t.deepEqual(calls, ['open tcp/15501']);
});

test('once stopped, all is released and nothing opened', async (t) => {
  const { captures, calls } = scene();
  await captures.hold(tcp(80));
  await captures.stop();
  await captures.hold(tcp(8001));
  t.deepEqual(calls, ['open tcp/15501', 'release tcp/15501']);
  await captures.close();
  t.is(calls.at(-1), 'close tcp/15501');
});

for (const [what, target, given, message] of [
  ['a port without a rule', tcp(443), rules, /captured: .*8000-8080.*KPEERING_INBOUND_PORTS/u],
  ['UDP without a rule', { protocol: 'udp', port: 80 }, rules, /captured: 53 \(KPEERING_INBOUND_UDP_PORTS\)/u],
  ['an excluded port', tcp(80), { ...rules, except: ['80'] }, /not captured/u],
  ['a port of ours', tcp(8070), rules, /kpeering's own/u],
  ['UDP in redirect mode', { protocol: 'udp', port: 53 }, assumedRules(15_306, 'nft is missing'), /redirect mode \(nft is missing\)/u],
  [
    'an outbound port without a rule',
    { protocol: 'tcp', port: 80, address: '10.0.0.1' },
    rules,
    /captured: 5432 \(KPEERING_OUTBOUND_PORTS\)/u,
  ],
  ['outbound UDP', { protocol: 'udp', port: 53, address: '10.0.0.1' }, rules, /own UDP/u],
] as const) {
  test(`${what} cannot be claimed`, (t) => {
    const error = t.throws(() => scene(undefined, given).captures.check(target), { instanceOf: RequestError, message });
    t.is(error.code, 'port-not-captured');
    t.like(error.details, { mode: given.mode });
  });
}

test('what is captured may be claimed', (t) => {
  const { captures } = scene();
  t.notThrows(() => captures.check(tcp(8080)));
  t.notThrows(() => captures.check({ protocol: 'udp', port: 53 }));
  t.notThrows(() => captures.check({ protocol: 'tcp', port: 5432, address: 'fd00::1' }));
});
