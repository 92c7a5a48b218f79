import test from 'ava';
import { serviceSchema } from '../../../../src/cluster/services.ts';
import type { KubeObject, Resource } from '../../../../src/cluster/types.ts';
import type { Workload } from '../../../../src/cluster/workloads.ts';
import { followPods } from '../../../../src/kpctl/intercept/follow.ts';
import type { PodRoutes } from '../../../../src/kpctl/intercept/routes.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { FakeWatches } from '../../simulator/fake-watches.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

const workload: Workload = {
  type: 'service',
  kind: 'Service',
  name: 'db',
  namespace: 'shop',
  object: serviceSchema.parse({
    metadata: { name: 'db', namespace: 'shop' },
    spec: { clusterIP: '10.96.0.7', ports: [{ port: 80 }], selector: { app: 'db' } },
  }),
};
const ports = { pods: [], mappings: [{ remote: '80', local: 3000, protocol: 'tcp' }], warnings: [] } as const;

/** A ready pod, with or without a sidecar that runs. */
function podOf(name: string, uid: string, sidecar: boolean): KubeObject {
  const object = {
    metadata: { name, namespace: 'shop', uid },
    spec: { containers: [{ name: 'app' }, ...(sidecar ? [{ name: 'kpeering' }] : [])] },
    status: {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: 'True' }],
      containerStatuses: [{ name: 'kpeering', state: { running: {} } }],
    },
  };
  return object;
}

/** Follows until the test ends; `list` is what the API server answers, and throws where it fails. */
function follow(list: () => readonly KubeObject[]) {
  const watches = new FakeWatches({});
  const cluster = fakeCluster({
    list: async <T extends KubeObject>(resource: Resource<T>) => await Promise.resolve(list().map((raw) => resource.parse(raw))),
    watch: (resource, options) => watches.watch(resource, options),
  });
  const joined = Promise.withResolvers<PodRoutes>();
  const warned = Promise.withResolvers<string>();
  const interception = { has: () => false, join: joined.resolve };
  const following = followPods({ cluster, workload, ports, interception, warn: warned.resolve, retryMilliseconds: 1 });
  return { watches, following, joined: joined.promise, warned: warned.promise };
}

test('pods that cannot be listed are listed again, although no pod changes any more', async (t) => {
  const pod = podOf('db-1', 'one', true);
  let failures = 2;
  const { watches, following, joined } = follow(() => {
    if (failures === 0) return [pod];
    failures -= 1;
    throw new Failure('API_UNREACHABLE', 'the API server is away');
  });
  await using _following = following;
  watches.set('pods', pod);
  t.like(await joined, { pod: { name: 'db-1' }, routes: [{ target: { port: 80 }, local: 3000 }] });
});

test('a pod without a sidecar is told; the next one of the same name, as a StatefulSet makes it, is looked at anew', async (t) => {
  let pod = podOf('db-0', 'one', false);
  const { watches, following, joined, warned } = follow(() => [pod]);
  await using _following = following;
  watches.set('pods', pod);
  t.is(await warned, 'new pod db-0 has no running kpeering sidecar: its callers are not intercepted');
  pod = podOf('db-0', 'two', true);
  watches.set('pods', pod);
  t.is((await joined).pod.name, 'db-0');
});
