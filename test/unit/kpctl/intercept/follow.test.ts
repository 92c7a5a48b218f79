import test from 'ava';
import { serviceSchema } from '../../../../src/cluster/services.ts';
import type { KubeObject, Resource } from '../../../../src/cluster/types.ts';
import type { Workload } from '../../../../src/cluster/workloads.ts';
import { followPods } from '../../../../src/kpctl/intercept/follow.ts';
import type { PodRoutes } from '../../../../src/kpctl/intercept/routes.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { FakeWatches } from '../../simulator/fake-watches.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

function service(spec: object): Workload {
  const metadata = { name: 'db', namespace: 'shop' };
  const object = serviceSchema.parse({ metadata, spec: { clusterIP: '10.96.0.7', ports: [{ port: 80 }], ...spec } });
  return { type: 'service', kind: 'Service', ...metadata, object };
}

const withSelector = service({ selector: { app: 'db' } });
const ports = { pods: [], mappings: [{ remote: '80', local: 3000, protocol: 'tcp' }], warnings: [] } as const;

/** A ready pod, with or without a sidecar that runs. */
function podOf(name: string, uid: string, sidecar: boolean, { ready = true, phase = 'Running' } = {}): KubeObject {
  const object = {
    metadata: { name, namespace: 'shop', uid },
    spec: { containers: [{ name: 'app' }, ...(sidecar ? [{ name: 'kpeering' }] : [])] },
    status: {
      phase,
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      containerStatuses: [{ name: 'kpeering', state: { running: {} } }],
    },
  };
  return object;
}

/** Follows until the test ends; `list` is what the API server answers, and throws where it fails. */
function follow(list: (plural: string) => readonly KubeObject[], workload = withSelector) {
  const watches = new FakeWatches({});
  const cluster = fakeCluster({
    list: async <T extends KubeObject>(resource: Resource<T>) =>
      await Promise.resolve(list(resource.plural).map((raw) => resource.parse(raw))),
    watch: (resource, options) => watches.watch(resource, options),
  });
  const joined = Promise.withResolvers<PodRoutes>();
  const warned = Promise.withResolvers<string>();
  const finished = Promise.withResolvers<string>();
  const deleting = Promise.withResolvers<string>();
  const interception = {
    has: () => false,
    join: joined.resolve,
    deleting: ({ name }: { readonly name: string }) => deleting.resolve(name),
    finished: ({ name }: { readonly name: string }) => finished.resolve(name),
  };
  const following = followPods({ cluster, workload, ports, interception, warn: warned.resolve, retryMilliseconds: 1 });
  return { watches, following, joined: joined.promise, finished: finished.promise, deleting: deleting.promise, warned: warned.promise };
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

test('a pod is taken in as soon as its sidecar runs: before it is ready, and so before its first caller', async (t) => {
  const pod = podOf('db-1', 'one', true, { ready: false });
  const { watches, following, joined } = follow(() => [pod]);
  await using _following = following;
  watches.set('pods', pod);
  t.is((await joined).pod.name, 'db-1');
});

test('a pod that has ended, and whose object stays, is left', async (t) => {
  const pod = podOf('job-1', 'one', true, { ready: false, phase: 'Succeeded' });
  const { watches, following, finished } = follow(() => [pod]);
  await using _following = following;
  watches.set('pods', pod);
  t.is(await finished, 'job-1');
});

test('a pod that is being deleted is told as that, and not taken in', async (t) => {
  const pod = podOf('db-1', 'one', true);
  const { watches, following, deleting } = follow(() => []);
  await using _following = following;
  const metadata = { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
  watches.set('pods', { ...pod, metadata });
  t.is(await deleting, 'db-1');
});

test('the pods of a Service without a selector are followed by its endpoints', async (t) => {
  const pod = podOf('by-hand', 'one', true);
  const slice = (names: readonly string[]) => ({
    metadata: { name: 'db-1', namespace: 'shop' },
    addressType: 'IPv4',
    ports: [{ port: 80 }],
    endpoints: names.map((name) => ({ addresses: ['10.0.0.1'], targetRef: { kind: 'Pod', name } })),
  });
  let slices = [slice([])];
  const { watches, following, joined } = follow((plural) => (plural === 'pods' ? [pod] : slices), service({}));
  await using _following = following;
  slices = [slice(['by-hand'])];
  watches.set('endpointslices', slice(['by-hand']));
  t.is((await joined).pod.name, 'by-hand');
});

test('who may list pods and not watch them is told that later pods are not followed', async (t) => {
  const warned = Promise.withResolvers<string>();
  const watches = new FakeWatches({});
  const cluster = fakeCluster({
    watch: (resource, options) => watches.watch(resource, options),
    can: async ({ verb, resource }) => await Promise.resolve(`${verb} ${resource}` !== 'watch pods'),
  });
  const none = () => undefined;
  const interception = { has: () => false, join: none, deleting: none, finished: none };
  await using _following = followPods({ cluster, workload: withSelector, ports, interception, warn: warned.resolve });
  t.is(await warned.promise, 'pods that come later are not followed: that takes the right to watch pods in namespace shop');
});
