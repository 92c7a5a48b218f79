import { once } from 'node:events';
import type { Server } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { everything, Stage } from './stage.ts';
import { Talk, ask, greeting, greetingAs, setNetworks, within } from './talk.ts';
import { refusedPort } from './scenario.ts';

const own = '198.19.255.53';
const own6 = 'fd6b:7065:6572:ffff::53';

/** A server behind the default route: it says which it is. */
async function serve(stage: Stage, t: ExecutionContext, host: string, port = 80): Promise<Server> {
  const server = await stage.wan.listen({ host, port });
  server.on('connection', (socket) => {
    socket.on('error', () => undefined);
    socket.write(`wan to ${host}\n`);
    socket.pipe(socket);
  });
  t.teardown(() => server.close());
  return server;
}

test.serial(
  'TCP of every user to a captured network arrives with its destination, over both families, and nothing else does',
  async (t) => {
    await using stage = await Stage.create();
    await serve(stage, t, '10.97.0.1');
    await serve(stage, t, '10.96.0.1');
    await serve(stage, t, 'fd12:96::1');
    await stage.up();
    for (const user of [0, 4321, 65_534]) {
      const four = await greetingAs(stage.laptop, [`--reuid=${user}`, `--regid=${user}`], '10.96.3.4', 5432);
      t.is(four.stdout, `to 10.96.3.4 5432 from ${own}\n`, four.stderr);
      const six = await greetingAs(stage.laptop, [`--reuid=${user}`, `--regid=${user}`], 'fd12:96::7', 5432);
      t.is(six.stdout, `to fd12:96::7 5432 from ${own6}\n`, six.stderr);
    }
    // Not captured, and never captured.
    t.is(await greeting(stage.laptop, '10.97.0.1'), 'wan to 10.97.0.1');
    t.is(await greeting(stage.laptop, '10.96.0.1'), 'wan to 10.96.0.1');
    t.is(await greeting(stage.laptop, 'fd12:96::1'), 'wan to fd12:96::1');
    // Its own addresses stay its own.
    const local = await stage.laptop.listen({ host: '10.9.0.2', port: 80 });
    local.on('connection', (socket) => socket.on('error', () => undefined).end('local\n'));
    t.is(await setNetworks(stage.laptop, { capture: [...everything.capture, '10.9.0.0/24'], never: [] }), 'done');
    t.is(await greeting(stage.laptop, '10.9.0.2'), 'local');
  },
);

test.serial(
  'what runs with the group of kpctl reaches a captured network directly, and keeps its own source address towards it',
  async (t) => {
    await using stage = await Stage.create();
    await stage.wan.run('ip', ['-batch', '-'], { input: 'address add 10.96.7.7/32 dev lo\naddress add fd12:96::77/128 dev lo\n' });
    await serve(stage, t, '10.96.7.7');
    await serve(stage, t, 'fd12:96::77');
    await stage.up();
    for (const host of ['10.96.7.7', 'fd12:96::77']) {
      const exempt = await greetingAs(stage.laptop, ['--reuid=4321', '--regid=15300'], host);
      t.is(exempt.stdout, `wan to ${host}\n`, exempt.stderr);
      t.is(await greeting(stage.laptop, host), `to ${host} 80 from ${host.includes(':') ? own6 : own}`);
    }
  },
);

test.serial('UDP to a captured network is answered by where it was sent to, over both families, whatever its size', async (t) => {
  await using stage = await Stage.create();
  await stage.up();
  const four = await stage.laptop.datagrams({ host: '0.0.0.0' });
  const six = await stage.laptop.datagrams({ host: '::' });
  t.is(await ask(four, '10.96.3.4', 5000, 'hello'), `to 10.96.3.4 5000 from ${own}: hello (10.96.3.4 5000)`);
  t.is(await ask(four, '10.96.3.5', 5000, 'again'), `to 10.96.3.5 5000 from ${own}: again (10.96.3.5 5000)`);
  t.is(await ask(six, 'fd12:96::7', 5000, 'six'), `to fd12:96::7 5000 from ${own6}: six (fd12:96::7 5000)`);
  t.is(await ask(four, '10.96.3.4', 5000, Buffer.alloc(65_507)), '65507 (10.96.3.4 5000)');
  t.is(await ask(six, 'fd12:96::7', 5000, Buffer.alloc(65_000)), '65000 (fd12:96::7 5000)');
  for (const host of ['10.96.3.4', 'fd12:96::8']) {
    const script = `exec 3<>/dev/udp/${host}/${refusedPort}; echo anybody >&3; read -rt 5 <&3`;
    const outcome = await stage.laptop.attempt('bash', ['--norc', '-c', script]);
    t.regex(outcome.stderr, /Connection refused/u);
  }
});

test.serial(
  'a captured network is reached where the machine has no route to it, and connections outlive a change of its network',
  async (t) => {
    await using stage = await Stage.create();
    await stage.laptop.run('ip', ['-6', 'route', 'delete', 'default']);
    await stage.up();
    t.is(await greeting(stage.laptop, 'fd12:96::7'), `to fd12:96::7 80 from ${own6}`);
    const open = await Talk.open(stage.laptop, '10.96.3.4');
    await open.line();
    await stage.laptop.run('ip', ['-batch', '-'], { input: 'address flush dev link0\naddress add 10.8.0.2/24 dev link0\n' });
    t.is(await open.echo('still there'), 'still there');
    t.is(await greeting(stage.laptop, '10.96.3.4'), `to 10.96.3.4 80 from ${own}`);
  },
);

for (const bridgeNetfilter of ['0', '1'] as const) {
  test.serial(`what a container sends arrives with its destination, with bridge-nf-call-iptables=${bridgeNetfilter}`, async (t) => {
    await using stage = await Stage.create({ bridgeNetfilter });
    await serve(stage, t, '10.9.0.1');
    await stage.up();
    const { container } = stage;
    t.is(await greeting(container, '10.96.3.4', 5432), 'to 10.96.3.4 5432 from 172.30.0.2');
    t.is(await greeting(container, 'fd12:96::7', 5432), 'to fd12:96::7 5432 from fd30::2');
    t.is(await greeting(container, '10.9.0.1'), 'wan to 10.9.0.1');
    const four = await container.datagrams({ host: '0.0.0.0' });
    const six = await container.datagrams({ host: '::' });
    t.is(await ask(four, '10.96.3.4', 5000, 'a'), 'to 10.96.3.4 5000 from 172.30.0.2: a (10.96.3.4 5000)');
    // From one port to two places: the kernel keeps them apart for us.
    t.is(await ask(four, '10.96.3.5', 5001, 'b'), 'to 10.96.3.5 5001 from 172.30.0.2: b (10.96.3.5 5001)');
    t.is(await ask(four, '10.96.3.4', 5000, 'c'), 'to 10.96.3.4 5000 from 172.30.0.2: c (10.96.3.4 5000)');
    t.is(await ask(six, 'fd12:96::7', 5000, 'six'), 'to fd12:96::7 5000 from fd30::2: six (fd12:96::7 5000)');
    for (const size of [1472, 9000, 65_507]) t.is(await ask(four, '10.96.3.4', 5000, Buffer.alloc(size)), `${size} (10.96.3.4 5000)`);
    // Names: asked of anybody, or of the bridge.
    for (const server of ['192.0.2.53', '172.30.0.1']) t.is(await ask(four, server, 53, 'name?'), `names (${server} 53)`);
    for (const server of ['2001:db8::53', 'fd30::1']) t.is(await ask(six, server, 53, 'name?'), `names (${server} 53)`);
    t.is(await greeting(container, '192.0.2.53', 53), 'names');
    await new Promise<void>((resolve) => four.connect(refusedPort, '10.96.3.4', resolve));
    const refused = once(four, 'error').then(([error]: { code?: string }[]) => error?.code);
    four.send('nobody');
    t.is(await within(refused, 'a refusal'), 'ECONNREFUSED');
  });
}

test.serial('the captured networks change while connections are open, and these go on', async (t) => {
  await using stage = await Stage.create();
  await stage.wan.run('ip', ['address', 'add', '10.96.7.7/32', 'dev', 'lo']);
  await serve(stage, t, '10.96.7.7');
  await serve(stage, t, '10.97.0.1');
  await stage.up();
  const captured = await Talk.open(stage.laptop, '10.96.7.7');
  t.is(await captured.line(), `to 10.96.7.7 80 from ${own}`);
  const direct = await Talk.open(stage.laptop, '10.97.0.1');
  t.is(await direct.line(), 'wan to 10.97.0.1');
  const contained = await Talk.open(stage.container, '10.96.7.7');
  await contained.line();

  t.is(await setNetworks(stage.laptop, { capture: ['10.97.0.0/16', '10.99.0.0/24'], never: [] }), 'done');
  t.is(await captured.echo('one'), 'one');
  t.is(await direct.echo('two'), 'two');
  t.is(await contained.echo('three'), 'three');
  t.is(await greeting(stage.laptop, '10.96.7.7'), 'wan to 10.96.7.7');
  t.is(await greeting(stage.laptop, '10.97.0.1'), `to 10.97.0.1 80 from ${own}`);

  t.is(await setNetworks(stage.laptop, { capture: ['10.96.0.0/16', '10.99.0.0/24'], never: ['10.96.7.0/24'] }), 'done');
  t.is(await captured.echo('four'), 'four');
  t.is(await direct.echo('five'), 'five');
  t.is(await greeting(stage.laptop, '10.96.7.7'), 'wan to 10.96.7.7');
  const udp = await stage.laptop.datagrams({ host: '0.0.0.0' });
  t.is(await ask(udp, '10.96.3.4', 5000, 'six'), `to 10.96.3.4 5000 from ${own}: six (10.96.3.4 5000)`);
  t.regex(await setNetworks(stage.laptop, { capture: ['10.96.0.0/16; flush ruleset'], never: [] }), /did not come|^$/u);
});

test.serial('connections that were open before go on', async (t) => {
  await using stage = await Stage.create();
  await stage.wan.run('ip', ['address', 'add', '10.96.7.7/32', 'dev', 'lo']);
  await serve(stage, t, '10.96.7.7');
  const before = await Talk.open(stage.laptop, '10.96.7.7');
  t.is(await before.line(), 'wan to 10.96.7.7');
  const { front } = await stage.up();
  t.is(await before.echo('under up'), 'under up');
  t.is(await greeting(stage.laptop, '10.96.7.7'), `to 10.96.7.7 80 from ${own}`);
  front.tell('close');
  await front.said('exited');
  t.is(await before.echo('after up'), 'after up');
});

test.serial('what only passes through the machine, or comes from a container and was open before, keeps its way', async (t) => {
  await using stage = await Stage.create();
  await stage.wan.run('ip', ['address', 'add', '10.96.7.7/32', 'dev', 'lo']);
  await serve(stage, t, '10.96.7.7');
  const other = await stage.world.namespace('other');
  await stage.world.join({ namespace: stage.laptop, address: '10.7.0.1/24' }, { namespace: other, address: '10.7.0.2/24' });
  await other.run('ip', ['route', 'add', 'default', 'via', '10.7.0.1']);
  await stage.wan.run('ip', ['route', 'add', '10.7.0.0/24', 'via', '10.9.0.2']);
  const before = await Talk.open(stage.container, '10.96.7.7');
  t.is(await before.line(), 'wan to 10.96.7.7');
  await stage.up();
  t.is(await before.echo('under up'), 'under up');
  t.is(await greeting(stage.container, '10.96.7.7'), 'to 10.96.7.7 80 from 172.30.0.2');
  t.is(await greeting(other, '10.96.7.7'), 'wan to 10.96.7.7');
});

test.serial('nothing listens on a public address, and who comes to a listener without being captured is turned away', async (t) => {
  await using stage = await Stage.create();
  const before = await stage.laptop.run('ss', ['-Hltun']);
  await stage.up();
  const listeners = (await stage.laptop.run('ss', ['-Hltun'])).split('\n').filter((line) => line !== '' && !before.includes(line));
  t.true(listeners.length > 8);
  for (const line of listeners) t.regex(line, / (127\.0\.0\.\d+|\[::1\]|198\.19\.255\.53|\[fd6b:7065:6572:ffff::53\]):\d+ /u);
  const ports = listeners.filter((line) => line.includes(`tcp`) && line.includes(own)).map((line) => Number(/:(\d+) /u.exec(line)?.[1]));
  t.is(ports.length, 2);
  for (const port of ports) {
    const outcome = await stage.container.attempt('timeout', ['0.3', 'bash', '--norc', '-c', `exec 3<>/dev/tcp/${own}/${port}`]);
    t.is(outcome.code, 124);
  }
  const local = listeners.find((line) => line.startsWith('tcp') && line.includes('127.0.0.1:')) ?? '';
  const talk = await Talk.open(stage.laptop, '127.0.0.1', Number(/127\.0\.0\.1:(\d+)/u.exec(local)?.[1]));
  t.is(await talk.line(), '');
});
