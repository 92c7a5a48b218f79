import test from 'ava';
import type { PodRoutes } from '../../../../src/kpctl/intercept/routes.ts';
import { PodLink } from '../../../../src/kpctl/links/pod-link.ts';
import { proofAfterJoining } from '../../../../src/kpctl/proof/before-claims.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { newSessionId } from '../../../../src/tunnel/index.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';
import { FakeSession } from '../links/fake-session.ts';

const hello = { id: newSessionId(), role: 'laptop', software: '1', name: 'me@here' } as const;
const joined: PodRoutes = {
  pod: { namespace: 'shop', name: 'web-2', uid: 'two' },
  addresses: ['10.0.0.2'],
  routes: [{ target: { protocol: 'tcp', port: 8080 }, local: 3000 }],
};
const token = 'a'.repeat(32);

/** What a pod that has joined is warned of, where the API server's own connection to the port of the proof ends in `answer`. */
async function warnings(answer: () => string): Promise<string[]> {
  const lines: string[] = [];
  const terminal = { progress: () => undefined, warn: (line: string) => void lines.push(line) };
  const cluster = fakeCluster({
    list: async () => await Promise.resolve([]),
    getFromPod: async ({ port }) => await Promise.resolve(port === 15_320 ? 'ok' : answer()),
  });
  const link = new PodLink({ cluster, pod: joined.pod, hello, onIncoming: () => undefined, onEvent: () => undefined });
  const session = new FakeSession(() => ({ port: 15_307, token }));
  Object.defineProperty(link, 'state', { value: { kind: 'up', session } });
  await proofAfterJoining({ cluster, hello, terminal })(joined, [link], {});
  return lines;
}

test('a pod that came later and is captured is not worth a line', async (t) => {
  t.deepEqual(await warnings(() => token), []);
});

test('a pod that came later and whose rules do not see its callers is told', async (t) => {
  const [line = '', ...more] = await warnings(() => {
    throw new Failure('API_ERROR', 'dial tcp 10.0.0.2:15307: connection refused');
  });
  t.deepEqual(more, []);
  t.regex(line, /^the callers of the new pod web-2 are not intercepted: .*CAPTURE_NOT_PROVED/u);
});
