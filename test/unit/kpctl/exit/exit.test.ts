import type { Socket } from 'node:net';
import test from 'ava';
import type { Cluster } from '../../../../src/cluster/types.ts';
import { PodLink } from '../../../../src/kpctl/links/pod-link.ts';
import { Exit } from '../../../../src/kpctl/exit/exit.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { acceptSession, newSessionId } from '../../../../src/tunnel/index.ts';
import { handlers, laptopHello, podHello, socketPair } from '../../tunnel/pair.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

function clusterOf(portForward: Cluster['portForward']): Cluster {
  return fakeCluster({
    portForward,
  });
}

test('when the pod is gone a flow waits for another one no longer than its patience', async (t) => {
  const far = Promise.withResolvers<Socket>();
  const gone = Promise.withResolvers<void>();
  const first = { forward: true, choose: true };
  const cluster = clusterOf(async () => {
    if (!first.forward) throw new Failure('NOT_FOUND', 'there is no such pod');
    first.forward = false;
    const [near, other] = await socketPair();
    void acceptSession(other, podHello, handlers());
    far.resolve(other);
    return near;
  });
  await using exit = new Exit({
    choose: async () => {
      if (!first.choose) throw new Failure('GATEWAY_MISSING', 'no ready gateway');
      first.choose = false;
      return await Promise.resolve({ namespace: 'shop', name: 'gateway-1' });
    },
    link: (pod, { onEvent }) =>
      new PodLink({
        cluster,
        pod,
        hello: { ...laptopHello, id: newSessionId() },
        onIncoming: (stream) => stream.refuse('denied', 'not expected'),
        onEvent,
      }),
    onEvent: (_pod, { kind }) => {
      if (kind === 'gone') gone.resolve();
    },
  });
  await exit.start();
  t.is((await exit.session()).peer.name, podHello.name);
  (await far.promise).destroy();
  await gone.promise;
  const patience = new AbortController();
  const asked = exit.session({ signal: patience.signal });
  patience.abort(new Error('the flow has gone'));
  await t.throwsAsync(asked, { message: 'the flow has gone' });
});
