import test from 'ava';
import { DRAINING_NOTICE } from '../../../../src/claims/notices.ts';
import type { Session, StreamResetReason, TunnelStream } from '../../../../src/tunnel/index.ts';
import { Stage } from './replicas.ts';

const dial = { kind: 'dial', destination: { address: '10.96.0.7', port: 80 } } as const;

/** Resolves with how the stream was reset. */
function resetOf(stream: TunnelStream): Promise<StreamResetReason> {
  const { promise, resolve } = Promise.withResolvers<StreamResetReason>();
  stream.attach({ data: () => undefined, end: () => undefined, drain: () => undefined, reset: resolve });
  return promise;
}

async function openedBy(session: Session): Promise<TunnelStream> {
  return await session.open(dial);
}

function moved(text: string): boolean {
  return text.includes(' > ');
}

test('when the pod is heard no more its flows are reset and new ones leave from another replica, which is asked at once', async (t) => {
  await using stage = new Stage(['gateway-1', 'gateway-2', 'gateway-3']);
  await stage.exit.start();
  const before = stage.current;
  const reset = resetOf(await openedBy(await stage.exit.session()));
  const began = performance.now();
  before.die('silent');
  t.is(await reset, 'session-lost');
  await stage.until((text) => text === `${before.name} lost`);
  const session = await stage.exit.session();
  t.true(performance.now() - began < 1_000);
  t.not(session.peer.name, `kpeering-system/${before.name}`);
  await openedBy(session);
  t.deepEqual(stage.events.slice(0, 1), [`${before.name} lost`]);
});

test('a replica that is lost is not chosen again while there are others', async (t) => {
  await using stage = new Stage(['gateway-1', 'gateway-2', 'gateway-3'], { watched: false });
  await stage.exit.start();
  const first = stage.current;
  first.die('silent');
  await stage.until((text) => text.startsWith(`${first.name} > `));
  const second = stage.current;
  // Its own link tries it again; the choice does not.
  const attempts = first.attempts;
  second.die('gone');
  await stage.until((text) => text.startsWith(`${second.name} > `));
  t.false([first, second].includes(stage.current));
  t.is(first.attempts, attempts);
});

test('a pod that drains keeps its flows to the end, and new ones leave from another replica', async (t) => {
  await using stage = new Stage(['gateway-1', 'gateway-2']);
  await stage.exit.start();
  const before = stage.current;
  const old = await openedBy(await stage.exit.session());
  const reset = resetOf(old);
  const [session] = before.sessions;
  session?.notify(DRAINING_NOTICE, {});
  await stage.until(moved);
  t.not(stage.current, before);
  await openedBy(await stage.exit.session());
  t.is(stage.current.streams.length, 1);
  t.deepEqual(
    stage.exit.links.map(({ pod }) => pod.name),
    [stage.current.name, before.name],
  );
  // The old flow is alive in both directions.
  const arrived = Promise.withResolvers<string>();
  before.streams[0]?.attach({
    data: (chunk) => arrived.resolve(chunk.toString()),
    end: () => undefined,
    drain: () => undefined,
    reset: () => arrived.resolve('reset'),
  });
  old.write(Buffer.from('still here'));
  t.is(await arrived.promise, 'still here');
  await session?.close();
  t.is(await reset, 'session-lost');
  t.is(stage.exit.link?.state.kind, 'up');
});

test('a pod that is being deleted is left as soon as the API says so', async (t) => {
  await using stage = new Stage(['gateway-1', 'gateway-2']);
  await stage.exit.start();
  const before = stage.current;
  before.deleting = true;
  stage.tell(before);
  await stage.until(moved);
  t.not(stage.current, before);
  t.is(before.sessions.length, 1);
});

test('with one replica only, flows wait until its successor is ready', async (t) => {
  await using stage = new Stage(['gateway-1', 'gateway-2']);
  const [first, successor] = stage.replicas;
  if (first === undefined || successor === undefined) throw new Error('two were made');
  successor.condition = 'gone';
  await stage.exit.start();
  t.is(stage.current, first);
  first.die('gone');
  stage.tell(first);
  await stage.until((text) => text.startsWith('gateway-1 '));
  const waiting = stage.exit.session();
  successor.condition = 'serving';
  stage.tell(successor);
  t.is((await waiting).peer.name, 'kpeering-system/gateway-2');
});

test('a replica that comes back before another one answers is used on', async (t) => {
  await using stage = new Stage(['gateway-1']);
  await stage.exit.start();
  const { current } = stage;
  current.end();
  await stage.until((text) => text === 'gateway-1 reconnected');
  t.is((await stage.exit.session()).peer.name, 'kpeering-system/gateway-1');
  t.false(stage.events.some((text) => moved(text)));
});

test('at the start a replica that does not take tunnels is passed over for another', async (t) => {
  await using stage = new Stage(['gateway-1', 'gateway-2']);
  const [first] = stage.replicas;
  // Ready as the API has it, and its pod is no more.
  if (first !== undefined) first.connect = () => Promise.reject(new Error('the node does not answer'));
  await stage.exit.start();
  t.is(stage.current.name, 'gateway-2');
});

test('laptops spread over the replicas, and take none that is not ready', async (t) => {
  const chosen = new Set<string>();
  for (let laptop = 0; laptop < 40; laptop += 1) {
    await using stage = new Stage(['gateway-1', 'gateway-2', 'gateway-3']);
    stage.replica('gateway-3').ready = false;
    await stage.exit.start();
    chosen.add(stage.current.name);
  }
  t.deepEqual([...chosen].toSorted(), ['gateway-1', 'gateway-2']);
});
