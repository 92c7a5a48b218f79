import test from 'ava';
import { deployments } from '../../../../src/cluster/controllers.ts';
import { templatedResources } from '../../../../src/cluster/templates.ts';
import type { Cluster, KubeObject, ListOptions, Resource, Watch, WatchEvent } from '../../../../src/cluster/types.ts';
import { applyChange } from '../../../../src/kpctl/inject/apply-change.ts';
import type { Target } from '../../../../src/kpctl/inject/targets.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

const terminal = { result: () => undefined, progress: () => undefined, warn: () => undefined };
const questions = { interactive: false, ask: async () => '' };
const change = { labels: { 'kpeering.io/inject': 'enabled' }, annotations: {} };

function deployment(spec: object = {}) {
  return {
    metadata: { name: 'web', namespace: 'shop', uid: 'u1', generation: 2 },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'app' }] } },
      ...spec,
    },
    status: { observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1 },
  };
}

/** A watch of what `items` holds; `synced` as given. */
function watchOf<T extends KubeObject>(
  items: ReadonlyMap<string, T>,
  synced: Promise<void>,
  subscribe: (listener: (event: WatchEvent<T>) => void) => void,
): Watch<T> {
  return {
    items,
    synced,
    onChange: (listener) => (subscribe(listener), () => undefined),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

function stage(synced: (options: ListOptions) => Promise<void>) {
  const pause = Promise.withResolvers<() => void>();
  const parts: Partial<Cluster> = {
    get: async <T extends KubeObject>(resource: Resource<T>) => resource.parse(deployment()),
    patch: async <T extends KubeObject>(resource: Resource<T>) => resource.parse(deployment()),
    watch: <T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}) => {
      const items = new Map<string, T>();
      if (resource.kind === 'Deployment') items.set('shop/web', resource.parse(deployment()));
      return watchOf(items, synced(options), (listener) => {
        if (resource.kind !== 'Deployment') return;
        pause.resolve(() => {
          const object = resource.parse(deployment({ paused: true }));
          items.set('shop/web', object);
          listener({ type: 'set', object, previous: undefined });
        });
      });
    },
  };
  const target: Target = {
    type: 'deployment',
    name: 'web',
    namespace: 'shop',
    object: templatedResources.deployment.parse(deployment()),
    workload: { type: 'deployment', kind: 'Deployment', name: 'web', namespace: 'shop', object: deployments.parse(deployment()) },
  };
  return { cluster: fakeCluster(parts), target, pause: pause.promise };
}

const options = { wait: true, timeoutMilliseconds: 20_000, pods: [] };

test('a rollout that somebody pauses while it is waited for is not over', async (t) => {
  const { cluster, target, pause } = stage(async () => {});
  const applied = applyChange({ cluster, terminal, questions, yes: true }, target, change, options);
  (await pause)();
  t.is(await applied, 'paused');
});

test('Ctrl-C is heard while an API server does not answer the first list', async (t) => {
  const { promise: listing, resolve: begun } = Promise.withResolvers<void>();
  const { cluster, target } = stage(async ({ signal }) => {
    begun();
    await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }));
  });
  const interrupted = new AbortController();
  const applied = applyChange({ cluster, terminal, questions, yes: true, signal: interrupted.signal }, target, change, options);
  await listing;
  interrupted.abort(new Error('interrupted'));
  await t.throwsAsync(applied, { message: 'interrupted' });
});
