import { once } from 'node:events';
import type { Socket } from 'node:net';
import test from 'ava';
import { ClaimTable, FlowRouter, type ClaimSession } from '../../../src/claims/index.ts';
import type { Flow } from '../../../src/interceptor/types.ts';
import { silentLogger } from '../../../src/platform/log.ts';
import { OpenError, type Session, type SessionEnd } from '../../../src/tunnel/index.ts';
import { socketPair } from '../tunnel/pair.ts';

const graceMilliseconds = 60_000;
const target = { protocol: 'tcp', port: 80 } as const;

/** A flow to port 80, its caller's socket, and a router that notes what it hands to the app. */
async function scene(open: Session['open'], maximumWaiting?: number) {
  const table = new ClaimTable({ graceMilliseconds });
  const ended = Promise.withResolvers<SessionEnd>();
  const session: ClaimSession = {
    id: 'a',
    peer: { role: 'laptop', software: '0', name: 'alice@mbp' },
    open,
    openAssociation: () => {
      throw new Error('this test opens no associations');
    },
    notify: () => undefined,
    ended: ended.promise,
  };
  void ended.promise.then((end) => table.sessionEnded(session, end));
  table.claim(session, target);
  let handed = 0;
  const router = new FlowRouter({
    table,
    toApp: async ({ socket }) => {
      handed += 1;
      socket.end('the app');
      await once(socket.resume(), 'close');
    },
    ...(maximumWaiting === undefined ? {} : { maximumWaiting }),
    log: silentLogger,
  });
  return {
    table,
    router,
    session,
    lose: () => ended.resolve({ kind: 'lost', cause: new Error('x'), lastHeard: performance.now() }),
    handed: () => handed,
  };
}

async function flow(): Promise<{ caller: Socket; flow: Flow }> {
  const [caller, socket] = await socketPair();
  caller.on('error', () => undefined);
  return { caller, flow: { socket, source: { address: '10.0.0.9', port: 4000 }, destination: { address: '10.0.0.1', port: 80 } } };
}

test('a flow that waits is given up when its caller is reset', async (t) => {
  const { router, lose, handed } = await scene(async () => Promise.reject(new OpenError('lost', 'gone')));
  lose();
  const one = await flow();
  const end = router.route(one.flow);
  one.caller.resetAndDestroy();
  t.is(await end, 'gone');
  t.is(handed(), 0);
  t.is(router.activeFlows, 0);
});

test('further flows than may wait go to the app', async (t) => {
  const { router, table, lose } = await scene(async () => Promise.reject(new OpenError('lost', 'gone')), 1);
  lose();
  const [first, second] = [await flow(), await flow()];
  const waiting = router.route(first.flow);
  t.is(
    await Promise.all([router.route(second.flow), once(second.caller.resume(), 'end').then(() => second.caller.end())]).then(
      ([end]) => end,
    ),
    'app',
  );
  table.clear();
  first.caller.resume().end();
  t.is(await waiting, 'app');
});

test('a session that is lost while it opens: the flow waits, and the app gets it when the claim ends', async (t) => {
  const opening = Promise.withResolvers<never>();
  const { router, table, lose, handed } = await scene(async () => opening.promise);
  const one = await flow();
  const end = router.route(one.flow);
  lose();
  opening.reject(new OpenError('lost', 'gone'));
  while (table.decide(target).kind !== 'wait') await new Promise(setImmediate);
  t.is(handed(), 0);
  table.clear();
  one.caller.resume().end();
  t.is(await end, 'app');
});

test('whenIdle waits for the last flow, and resetAll ends them', async (t) => {
  const { router, lose } = await scene(async () => Promise.reject(new OpenError('lost', 'gone')));
  await router.whenIdle();
  lose();
  const one = await flow();
  const end = router.route(one.flow);
  const idle = router.whenIdle();
  router.resetAll();
  t.is(await end, 'gone');
  await idle;
});
