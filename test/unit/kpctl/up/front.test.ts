import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../../../src/platform/errors.ts';
import { Interruption } from '../../../../src/kpctl/interruption.ts';
import { bringUp } from '../../../../src/kpctl/up/front.ts';
import { joinedSchema } from '../../../../src/kpctl/up/joined.ts';
import { failureReport, type AgentReport } from '../../../../src/kpctl/up/reports.ts';
import { decodeUpRequest } from '../../../../src/kpctl/up/request.ts';
import type { HelperEnd, HelperOptions, HelperProcess } from '../../../../src/simulator/machine/index.ts';

const joined = joinedSchema.parse({
  context: 'shop',
  server: 'https://203.0.113.9:6443',
  namespace: 'default',
  exit: { kind: 'gateway', pod: 'kpeering-system/gateway-1' },
  networks: {
    captured: ['10.96.0.0/16'],
    never: [],
    sources: ['Services: 10.96.0.0/16 (ServiceCIDR objects)'],
    also: [],
    excluded: ['10.96.7.0/24'],
  },
  names: { domain: 'cluster.local', search: ['default.svc.cluster.local'], kind: 'resolv-conf', elsewhere: ['192.0.2.53:53'] },
  log: '/home/alice/.local/state/kpctl/up.log',
});
const request = { cluster: { namespace: 'default' }, also: [], never: ['10.96.7.0/24'] };

/** A helper whose agent reports as the test says. */
function helper(play: (report: (message: AgentReport) => void, end: (end: HelperEnd) => void) => void) {
  const calls: string[] = [];
  const exited = Promise.withResolvers<HelperEnd>();
  let options: HelperOptions | undefined;
  const process: HelperProcess = {
    pid: 100,
    repaired: ['removed the routing rules 5100'],
    exited: exited.promise,
    detach: async () => void calls.push('detach'),
    close: async () => {
      calls.push('close');
      exited.resolve({ reason: 'asked', message: '' });
    },
    [Symbol.asyncDispose]: async () => void calls.push('dispose'),
  };
  const startHelper = async (given: HelperOptions): Promise<HelperProcess> => {
    options = given;
    play(given.onReport, exited.resolve);
    return process;
  };
  return { calls, startHelper, options: () => options };
}

function run(t: ExecutionContext, parts: ReturnType<typeof helper>, { foreground = false, format = 'text' as const, uid = 0 } = {}) {
  const lines: string[] = [];
  const terminal = {
    result: (line: string) => void lines.push(line),
    progress: (line: string) => void lines.push(`… ${line}`),
    warn: (line: string) => void lines.push(`! ${line}`),
  };
  const interruption = new Interruption();
  t.teardown(() => interruption[Symbol.dispose]());
  const callerSources = {
    uid,
    parent: 1,
    environment: { HOME: '/root' },
    directory: '/',
    processFile: () => undefined,
    account: () => undefined,
    groupsOf: () => [],
  };
  const code = bringUp(request, { foreground, format }, terminal, interruption, { startHelper: parts.startHelper, callerSources });
  return { lines, interruption, code };
}

test('in the background it ends when names and capture work, and says what was joined and how to undo it', async (t) => {
  const parts = helper((report) => {
    report({ type: 'progress', text: 'reaching shop' });
    report({ type: 'warning', text: '10.0.0.0/8 overlaps' });
    report({ type: 'ready', joined });
  });
  const { code, lines } = run(t, parts);
  t.is(await code, 0);
  t.deepEqual(parts.calls, ['detach']);
  t.deepEqual(lines, [
    '! 10.0.0.0/8 overlaps',
    '! removed the routing rules 5100',
    'joined shop (https://203.0.113.9:6443), namespace default, through the gateway (pod kpeering-system/gateway-1)',
    'Services: 10.96.0.0/16 (ServiceCIDR objects)',
    'never captured: 10.96.7.0/24',
    'names: cluster.local, short ones of default, by resolv-conf; all others are asked of 192.0.2.53:53',
    'log: /home/alice/.local/state/kpctl/up.log',
    'to undo: kpctl down',
  ]);
  const [, , , argument = ''] = parts.options()?.agent ?? [];
  t.deepEqual(decodeUpRequest(argument), request);
});

test("the agent's failure is the command's", async (t) => {
  const parts = helper((report) => report(failureReport(new Failure('GATEWAY_MISSING', 'no gateway', { remedy: 'install it' }))));
  const error = await t.throwsAsync(run(t, parts).code, { instanceOf: Failure });
  t.is(error?.format(), 'no gateway; install it [GATEWAY_MISSING]');
  t.deepEqual(parts.calls, ['close']);
});

test('an agent that ends without a word is a failure that says what the helper says', async (t) => {
  const parts = helper((_, end) => end({ reason: 'agent-ended', message: 'the agent was killed' }));
  const error = await t.throwsAsync(run(t, parts).code, { instanceOf: Failure });
  t.is(error?.code, 'UP_FAILED');
  t.regex(error?.message ?? '', /the agent was killed/);
});

test('what is no report of ours is passed over', async (t) => {
  const parts = helper((report) => {
    Reflect.apply(report, undefined, [{ type: 'ready', joined: 7 }]);
    Reflect.apply(report, undefined, ['\u001B[2J']);
    report({ type: 'ready', joined });
  });
  t.is(await run(t, parts).code, 0);
});

test('in the foreground it stays, tells what happens, and Ctrl-C undoes everything', async (t) => {
  let tell: ((message: AgentReport) => void) | undefined;
  const parts = helper((report) => {
    tell = report;
    report({ type: 'ready', joined });
  });
  const { code, lines, interruption } = run(t, parts, { foreground: true });
  await new Promise((resolve) => setImmediate(resolve));
  tell?.({ type: 'progress', text: 'gateway-1: reconnected' });
  t.is(lines.at(-1), '… gateway-1: reconnected');
  interruption.raise('Ctrl-C');
  t.is(await code, 130);
  t.deepEqual(parts.calls, ['close']);
});

test('"kpctl down" ends one in the foreground with 0; a lost agent is a failure', async (t) => {
  const down = helper((report, end) => {
    report({ type: 'ready', joined });
    setImmediate(() => end({ reason: 'asked', message: '' }));
  });
  t.is(await run(t, down, { foreground: true }).code, 0);
  const lost = helper((report, end) => {
    report({ type: 'ready', joined });
    setImmediate(() => end({ reason: 'agent-ended', message: 'killed by SIGKILL' }));
  });
  t.is((await t.throwsAsync(run(t, lost, { foreground: true }).code, { instanceOf: Failure }))?.code, 'UP_FAILED');
});

test('without root no helper is started', async (t) => {
  const parts = helper(() => undefined);
  const error = await t.throwsAsync(run(t, parts, { uid: 1000 }).code, { instanceOf: Failure });
  t.is(error?.code, 'ROOT_REQUIRED');
  t.is(parts.options(), undefined);
});
