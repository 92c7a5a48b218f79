import test from 'ava';
import { caller, everything, Stage } from './stage.ts';
import { Talk, greeting, setNetworks, within } from './talk.ts';

/** Within that everything is as before, whoever has died. */
const PROMISED_MILLISECONDS = 1000;

test.serial(
  'the agent is its caller: its user, its groups and beside them our own, its environment and folder, and no capability',
  async (t) => {
    await using stage = await Stage.create();
    const { ready, front } = await stage.up();
    t.like(ready, { uid: 4321, gid: 15_300, directory: '/tmp', home: '/home/alice', secret: 'of alice' });
    // Node counts the group that it acts as among them.
    t.deepEqual(new Set(ready.groups), new Set([4322, 4323, 4324, 15_300]));
    t.deepEqual(
      ready.capabilities.map((line) => line.split('\t')),
      [
        ['CapInh:', '0000000000000000'],
        ['CapPrm:', '0000000000000000'],
        ['CapEff:', '0000000000000000'],
        ['CapAmb:', '0000000000000000'],
      ],
    );
    front.tell('close');
    await front.said('exited');
  },
);

test.serial('an agent of root itself has no capability either', async (t) => {
  await using stage = await Stage.create();
  const { ready, front } = await stage.up({ as: { ...caller, uid: 0, gid: 0, groups: [0], name: 'root' } });
  t.like(ready, { uid: 0, gid: 15_300 });
  t.true(
    ready.capabilities.every((line) => line.endsWith('0000000000000000')),
    ready.capabilities.join(' '),
  );
  front.tell('close');
  await front.said('exited');
});

test.serial(
  'in the background it stays when the front has gone; a second one is told who has it; SIGTERM ends it, and everything is as before',
  async (t) => {
    await using stage = await Stage.create();
    const before = await stage.state();
    const { front, helper, ready } = await stage.up();
    front.tell('detach');
    await front.said('detached');
    await front.ended();
    t.is(await greeting(stage.laptop, '10.96.3.4'), 'to 10.96.3.4 80 from 198.19.255.53');

    const second = stage.front({ as: { ...caller, name: 'bob' } });
    const { code, message } = await second.failed();
    t.is(code, 'UP_RUNNING');
    t.regex(message, new RegExp(`alice has, since \\d{4}-.*\\(process ${helper}\\)`, 'u'));
    t.is(await greeting(stage.laptop, '10.96.3.4'), 'to 10.96.3.4 80 from 198.19.255.53');

    await stage.signal(helper, 'TERM');
    t.log(`as before after ${Math.round(await stage.becomes(before, PROMISED_MILLISECONDS))} ms`);
    await t.throwsAsync(stage.signal(ready.pid, '0'));
  },
);

test.serial('in the foreground it ends with the front, however that ends', async (t) => {
  await using stage = await Stage.create();
  const before = await stage.state();
  const { front, helper } = await stage.up();
  await stage.signal(await parentOf(stage, helper), 'KILL');
  t.log(`as before after ${Math.round(await stage.becomes(before, PROMISED_MILLISECONDS))} ms`);
  await front.ended();
  t.pass();
});

test.serial('when the agent is killed everything is as before, and connections that it had are reset', async (t) => {
  await using stage = await Stage.create();
  const before = await stage.state();
  const { front, ready } = await stage.up();
  const talk = await Talk.open(stage.laptop, '10.96.3.4');
  await talk.line();
  const idle = await stage.laptop.connect({ host: '10.96.3.5', port: 80 });
  // It gets an end, or a reset.
  const ended = new Promise<void>((resolve) =>
    idle
      .resume()
      .on('error', () => resolve())
      .on('end', () => resolve()),
  );
  await stage.signal(ready.pid, 'KILL');
  t.log(`as before after ${Math.round(await stage.becomes(before, PROMISED_MILLISECONDS))} ms`);
  await within(ended, 'the end of a connection');
  t.is(await talk.line(), '');
  const { reason, message } = await front.said('exited');
  t.is(reason, 'agent-ended');
  t.regex(message, /SIGKILL/u);
});

test.serial('when nft is ended everything is as before, too', async (t) => {
  await using stage = await Stage.create();
  const before = await stage.state();
  const { front } = await stage.up();
  await stage.laptop.run('pkill', ['-KILL', '-x', 'nft']);
  t.log(`as before after ${Math.round(await stage.becomes(before, PROMISED_MILLISECONDS))} ms`);
  const { reason } = await front.said('exited');
  t.is(reason, 'failed');
});

test.serial(
  'when the helper is killed, its rules, routes and device are gone, the agent ends, and the next command repairs the rest and says so',
  async (t) => {
    await using stage = await Stage.create();
    const before = await stage.state();
    const { helper, ready } = await stage.up();
    await stage.signal(helper, 'KILL');
    await gone(stage, ready.pid);
    const killed = performance.now();
    const ofKernel = /kpctl0|table inet|15300 |local default/u;
    let left = await stage.state();
    while (ofKernel.test(left) && performance.now() - killed < PROMISED_MILLISECONDS) left = await stage.state();
    t.notRegex(left, ofKernel);
    t.regex(left, /lookup 15300/u);
    const repairing = stage.front({ repairOnly: true });
    const { repaired } = await repairing.said('started');
    t.log(repaired);
    t.true(repaired.some((line) => line.includes('routing rules 5100 (IPv4), 5101 (IPv4), 5100 (IPv6), 5101 (IPv6)')));
    await stage.becomes(before, PROMISED_MILLISECONDS);
    // With nothing left there is nothing to say.
    t.deepEqual((await stage.front({ repairOnly: true }).said('started')).repaired, []);
  },
);

test.serial('what a killed helper has left is repaired by the next up as well', async (t) => {
  await using stage = await Stage.create();
  const before = await stage.state();
  const first = await stage.up();
  await stage.signal(first.helper, 'KILL');
  await gone(stage, first.ready.pid);
  const second = stage.front();
  const { repaired } = await second.said('started');
  t.true(repaired.length > 0);
  await second.said('report');
  t.is(await greeting(stage.laptop, '10.96.3.4'), 'to 10.96.3.4 80 from 198.19.255.53');
  second.tell('close');
  await second.said('exited');
  await stage.becomes(before, PROMISED_MILLISECONDS);
});

test.serial('an agent that says what no agent says is ended with everything', async (t) => {
  await using stage = await Stage.create();
  const before = await stage.state();
  const { front } = await stage.up();
  t.is(await setNetworks(stage.laptop, { capture: ['10.96.0.0/16; flush ruleset'], never: [] }), '');
  t.regex((await front.said('exited')).message, /no agent says/u);
  await stage.becomes(before, PROMISED_MILLISECONDS);
  t.pass();
});

test.serial('where the machine cannot be joined it is told, and everything is as before', async (t) => {
  await using stage = await Stage.create();
  const before = await stage.state();
  await stage.laptop.run('mount', ['--bind', '/dev/null', '/dev/net/tun']);
  const front = stage.front({ scenario: everything });
  await front.said('started');
  const { message } = await front.said('report');
  t.like(message, { type: 'failed', code: 'MACHINE_SETUP_FAILED' });
  await front.said('exited');
  await stage.becomes(before, PROMISED_MILLISECONDS);
});

async function parentOf(stage: Stage, pid: number): Promise<number> {
  return Number((await stage.laptop.run('ps', ['-o', 'ppid=', '-p', String(pid)])).trim());
}

async function gone(stage: Stage, pid: number): Promise<void> {
  await stage.laptop.run('timeout', ['5', 'sh', '-c', `while kill -0 ${pid} 2>/dev/null; do sleep 0.02; done`]);
}
