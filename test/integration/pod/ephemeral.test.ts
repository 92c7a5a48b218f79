import type { Socket } from 'node:net';
import test from 'ava';
import { proveAnswerSchema } from '../../../src/claims/messages.ts';
import { LIVE_TABLE } from '../../../src/interceptor/live-rules.ts';
import { RequestError } from '../../../src/tunnel/index.ts';
import { ask, laptopProcess } from './peers.ts';
import { Pod, failureOf, nodeAddress, podAddress, podAddress6, shout, textOf } from './pod.ts';
import { answerAs, app, ask as askByUdp, askUntil, caller, families, laptopWith, localServer, udp } from './udp-peers.ts';

/** The pod's rules, as the kernel has them; '' without any. */
async function rules(pod: Pod): Promise<string> {
  return (await pod.namespace.run('nft', ['list', 'ruleset'])).trim();
}

/** The kernel and nft take a moment after somebody has died. */
async function rulesAre(pod: Pod, wanted: (text: string) => boolean): Promise<string> {
  for (;;) {
    const text = await rules(pod);
    if (wanted(text)) return text;
  }
}

const none = (text: string): boolean => text === '';

async function nftRuns(pod: Pod): Promise<boolean> {
  return (await pod.namespace.attempt('pgrep', ['-x', 'nft'])).code === 0;
}

test.serial('the table comes with the first claim and goes with the last one, and what is not claimed has no rule', async (t) => {
  await using pod = await Pod.ephemeral();
  await pod.serve(8101, (socket) => socket.end('the app'));
  await pod.serve(8102, (socket) => socket.end('the other'));
  t.is(await rules(pod), '');
  t.false(await nftRuns(pod));
  const laptop = await pod.laptop(laptopProcess('alice'));
  t.deepEqual(await laptop.claim(8101), { again: false, staying: 0 });
  const first = await rules(pod);
  t.regex(first, new RegExp(`table inet ${LIVE_TABLE} .*\\n\\tflags owner`, 'u'));
  t.regex(first, /ipv4 tcp dport 8101 tproxy ip to :15500 accept/u);
  t.regex(first, /ipv6 tcp dport 8101 tproxy ip6 to :15500 accept/u);
  t.false(/8102|nat|output/u.test(first));
  t.is(await ask(pod, 8101), 'alice heard x');
  t.is(await ask(pod, 8101, 'x', podAddress6), 'alice heard x');
  t.is(await ask(pod, 8102), 'the other');
  await laptop.claim(8102);
  t.is(await ask(pod, 8102), 'alice heard x');
  await laptop.release(8101);
  t.is(await ask(pod, 8101), 'the app');
  t.is(await ask(pod, 8102), 'alice heard x');
  await rulesAre(pod, (text) => !text.includes('8101') && text.includes('8102'));
  await laptop.release(8102);
  t.is(await ask(pod, 8102), 'the other');
  await rulesAre(pod, none);
  t.false(await nftRuns(pod));
  // The next one finds it as the first one did.
  await laptop.claim(8102);
  t.is(await ask(pod, 8102), 'alice heard x');
  await laptop.session.close();
  await rulesAre(pod, none);
  t.is(await ask(pod, 8102), 'the other');
});

test.serial('it is killed while a port is claimed: the very next connection reaches the app, and no rule is left', async (t) => {
  await using pod = await Pod.ephemeral();
  await pod.serve(8103, (socket) => socket.end('the app'));
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8103);
  await laptop.claim({ protocol: 'tcp', port: 7001, address: nodeAddress });
  t.is(await ask(pod, 8103), 'alice heard x');
  await pod.sidecar.terminate(pod.namespace, 'KILL');
  await pod.sidecar.exited;
  t.is(await ask(pod, 8103), 'the app');
  await rulesAre(pod, none);
});

test.serial('of calls one after the other, through twenty claims and releases, each is answered', async (t) => {
  await using pod = await Pod.ephemeral();
  await pod.serve(8104, (socket) => socket.end('the app'));
  const laptop = await pod.laptop(laptopProcess('alice'));
  const answers = new Map<string, number>();
  const over = new AbortController();
  const calls = Array.from({ length: 4 }, async () => {
    while (!over.signal.aborted) {
      const answer = await ask(pod, 8104);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  });
  for (let cycle = 0; cycle < 20; cycle++) {
    await laptop.claim(8104);
    t.is(await ask(pod, 8104), 'alice heard x');
    await laptop.release(8104);
    t.is(await ask(pod, 8104), 'the app');
  }
  over.abort();
  await Promise.all(calls);
  t.deepEqual([...answers.keys()].sort(), ['alice heard x', 'the app']);
  await laptop.session.close();
  await rulesAre(pod, none);
});

test.serial('nft is killed: its rules are put back', async (t) => {
  await using pod = await Pod.ephemeral();
  await pod.serve(8105, (socket) => socket.end('the app'));
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8105);
  await pod.namespace.run('pkill', ['-KILL', '-x', 'nft']);
  await pod.sidecar.logs('they are put back');
  await rulesAre(pod, (text) => text.includes('8105'));
  t.is(await ask(pod, 8105), 'alice heard x');
  await laptop.session.close();
  await rulesAre(pod, none);
});

test.serial("the pod's own calls: only those to a claimed address come here, and those that are open outlive the claim", async (t) => {
  await using pod = await Pod.ephemeral();
  for (const port of [7001, 7002]) {
    const server = await pod.node.listen({ host: '::', port });
    server.on('connection', (socket: Socket) => shout(socket));
  }
  const call = async (port: number): Promise<Socket> => pod.namespace.connect({ host: nodeAddress, port });
  const answerOf = async (socket: Socket, text = 'x'): Promise<string> => {
    socket.end(text);
    return textOf(socket);
  };
  const before = await call(7001);
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim({ protocol: 'tcp', port: 7001, address: nodeAddress });
  t.is(await answerOf(await call(7001)), 'alice heard x');
  t.is(await answerOf(await call(7002)), 'X');
  const open = await call(7001);
  open.write('still ');
  while (!JSON.stringify(await laptop.session.request('claims', {})).includes('"activeFlows":1')) await new Promise(setImmediate);
  await laptop.release({ protocol: 'tcp', port: 7001, address: nodeAddress });
  t.is(await answerOf(await call(7001)), 'X');
  t.is(await answerOf(open, 'open'), 'alice heard still open');
  t.is(await answerOf(before, 'from before'), 'FROM BEFORE');
  await rulesAre(pod, none);
  await laptop.session.close();
});

for (const family of families) {
  test.serial(
    `${family.family}: a datagram's caller reaches the app, the laptop while it claims the port, and the app again`,
    async (t) => {
      await using pod = await Pod.ephemeral();
      await app(pod, 5301, family.any);
      const laptop = await laptopWith(pod, await localServer(t, (socket) => answerAs(socket, 'laptop')));
      const from = await caller(pod, 5301, family);
      t.is(await askByUdp(from, 5301, 'one'), 'app:one');
      await laptop.claim(udp(5301));
      t.is(await askByUdp(from, 5301, 'two'), 'laptop:two');
      await laptop.release(udp(5301));
      await askUntil(from, 5301, 'three', 'app:three');
      await laptop.session.close();
      await rulesAre(pod, none);
    },
  );
}

test.serial('the proof of the capture brings its rule, and takes it along', async (t) => {
  await using pod = await Pod.ephemeral();
  const laptop = await pod.laptop();
  t.regex(await failureOf(pod.call(15_307)), /ECONNREFUSED/u);
  const { port, token } = proveAnswerSchema.parse(await laptop.session.request('prove', {}));
  t.true((await ask(pod, port, 'GET / HTTP/1.0\r\n\r\n')).includes(token));
  await laptop.session.close();
});

test.serial('what is its own, and UDP of the pod itself, cannot be claimed; what claims may hold is all else', async (t) => {
  await using pod = await Pod.ephemeral();
  const laptop = await pod.laptop();
  for (const target of [15_310, 15_320, 15_500, { protocol: 'udp', port: 53, address: nodeAddress } as const]) {
    const error = await t.throwsAsync(laptop.claim(target), { instanceOf: RequestError });
    t.is(error.code, 'port-not-captured');
  }
  t.like(await laptop.session.request('rules', {}), { mode: 'tproxy', backend: 'nft', tcp: ['*'], udp: ['*'], outbound: ['*'] });
  await laptop.session.close();
  t.is(await rules(pod), '');
});

test.serial('more ports than there are listeners, one after the other: the listeners of those that have gone serve again', async (t) => {
  await using pod = await Pod.ephemeral();
  const laptop = await pod.laptop(laptopProcess('alice'));
  for (let port = 9000; port < 9105; port++) {
    await laptop.claim(port);
    if (port === 9104) t.is(await ask(pod, port), 'alice heard x');
    await laptop.release(port);
  }
  for (let port = 9000; port < 9100; port++) await laptop.claim(port);
  await t.throwsAsync(laptop.claim(9100), { message: /100 ports are claimed/u });
  t.is(await ask(pod, 9099), 'alice heard x');
  await laptop.session.close();
});

test.serial('where the kernel refuses the rules, a claim fails with its words, and the app answers', async (t) => {
  await using pod = await Pod.ephemeral();
  await pod.serve(8106, (socket) => socket.end('the app'));
  // A table of this name that another process owns.
  await pod.namespace.run('nft', ['add', 'table', 'inet', LIVE_TABLE]);
  const holder = pod.namespace.spawn('nft', ['-i'], { stdio: ['pipe', 'ignore', 'ignore'] });
  await pod.namespace.run('nft', ['delete', 'table', 'inet', LIVE_TABLE]);
  holder.stdin?.write(`add table inet ${LIVE_TABLE} { flags owner; }\n`);
  await rulesAre(pod, (text) => text.includes('owner'));
  const laptop = await pod.laptop(laptopProcess('alice'));
  const error = await t.throwsAsync(laptop.claim(8106), { instanceOf: RequestError, message: /nft: .*not permitted; .*kpctl inject/u });
  t.is(error.code, 'capture-failed');
  t.deepEqual(await laptop.session.request('claims', {}), { claims: [] });
  t.is(await ask(pod, 8106), 'the app');
  holder.stdin?.end();
  await rulesAre(pod, none);
  await laptop.claim(8106);
  t.is(await ask(pod, 8106), 'alice heard x');
  await laptop.session.close();
});

test.serial('it ends by itself when no laptop has been there for so long, and not before', async (t) => {
  await using pod = await Pod.ephemeral(['--idle-seconds', '3']);
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8107);
  const began = performance.now();
  while (performance.now() - began < 4500) t.is(await ask(pod, 8107, 'x', podAddress), 'alice heard x');
  await laptop.session.close();
  t.regex(await pod.sidecar.logs('draining'), /nobody has used it for 3 s/u);
  t.is(await pod.sidecar.exited, 0);
  t.is(await rules(pod), '');
});
