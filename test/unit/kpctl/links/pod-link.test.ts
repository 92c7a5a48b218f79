import { duplexPair, type Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { PodLink, type LinkEvent } from '../../../../src/kpctl/links/pod-link.ts';
import { acceptSession, newSessionId, RequestError, type Session } from '../../../../src/tunnel/index.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

/** A pod whose kpeering answers as long as `silent` is false; `dial` may be put in the place of its port-forward. */
function stage(t: ExecutionContext) {
  const events: LinkEvent[] = [];
  const changed: (() => void)[] = [];
  const pod = {
    dials: 0,
    silent: false,
    sessions: [] as Session[],
    dial: undefined as ((signal: AbortSignal) => Promise<Duplex>) | undefined,
  };
  const cluster = fakeCluster({
    portForward: async (_target, { signal } = {}) => {
      pod.dials += 1;
      if (pod.dial !== undefined && signal !== undefined) return await pod.dial(signal);
      const [near, far] = duplexPair();
      void acceptSession(
        far,
        { role: 'gateway', software: 'test', name: 'gateway' },
        {
          incoming: () => undefined,
          notified: () => undefined,
          request: async () => {
            if (pod.silent) return await new Promise(() => undefined);
            throw new RequestError('unknown-method', 'there is none');
          },
        },
      ).then((session) => pod.sessions.push(session));
      return near;
    },
  });
  const link = new PodLink({
    cluster,
    pod: { namespace: 'kpeering-system', name: 'gateway-1' },
    hello: { id: newSessionId(), role: 'laptop', software: 'test', name: 'alice' },
    onIncoming: () => undefined,
    onEvent: (event) => {
      events.push(event);
      for (const tell of changed.splice(0)) tell();
    },
  });
  t.teardown(async () => await link.close());
  const until = async (kind: LinkEvent['kind']): Promise<void> => {
    while (events.at(-1)?.kind !== kind) await new Promise<void>((resolve) => changed.push(resolve));
  };
  return { link, pod, events, until };
}

test('a session that answers anything stays when the network has changed', async (t) => {
  const { link, pod, events } = stage(t);
  await link.connect();
  t.true(await link.check(1_000));
  t.deepEqual([pod.dials, events], [1, []]);
});

test('one that gives no sign of life is given up at once, and the link reconnects', async (t) => {
  const { link, pod, until } = stage(t);
  await link.connect();
  pod.silent = true;
  t.false(await link.check(30));
  pod.silent = false;
  await until('reconnected');
  t.is(pod.dials, 2);
  t.true(await link.check(1_000));
});

test('a reconnection that hangs begins anew', async (t) => {
  const { link, pod, until } = stage(t);
  await link.connect();
  const hanging = Promise.withResolvers<void>();
  pod.dial = async (signal) => {
    hanging.resolve();
    return await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  };
  pod.sessions[0]?.abort(new Error('the network is gone'));
  await hanging.promise;
  pod.dial = undefined;
  t.false(await link.check(1_000), 'it is not up');
  await until('reconnected');
  t.is(pod.dials, 3);
});
