import test from 'ava';
import { namespaces, pods } from '../../../../src/cluster/resources.ts';
import type { Cluster, KubeObject, Manifest, Resource } from '../../../../src/cluster/types.ts';
import { mutatingWebhookConfigurations } from '../../../../src/cluster/webhooks.ts';
import { findWorkload } from '../../../../src/cluster/workloads.ts';
import { injectWorkload, injectionTargets, type InjectContext } from '../../../../src/kpctl/inject/index.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

const silent = { result: () => {}, progress: () => {}, warn: () => {} };
const forbidden = (): never => {
  throw new Failure('API_FORBIDDEN', 'you may not');
};

interface Given {
  readonly template?: object;
  readonly namespaceLabels?: Record<string, string>;
  /** Whether the user may create pods; what then comes of a dry run. */
  readonly dryRun?: (pod: Manifest) => unknown;
  /** Whether there is a webhook; absent: the user may not ask. */
  readonly installed?: boolean;
  readonly answer?: string;
}

/** A Deployment with one pod, in a cluster that answers as given; the patches that were sent. */
async function stage(given: Given) {
  const patches: unknown[] = [];
  const metadata = { name: 'web', namespace: 'shop', uid: 'u1', generation: 1 };
  const deployment = {
    metadata,
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'app' }] }, ...given.template },
    },
    status: { observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1 },
  };
  const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-1', uid: 'u2', controller: true };
  const set = {
    metadata: { name: 'web-1', uid: 'u2', ownerReferences: [{ ...owner, kind: 'Deployment', name: 'web', uid: 'u1' }] },
    spec: { selector: {} },
  };
  const pod = { metadata: { name: 'web-1-x', uid: 'u3', ownerReferences: [owner] }, spec: {}, status: { phase: 'Running' } };
  const parts: Partial<Cluster> = {
    namespace: 'shop',
    get: async <T extends KubeObject>(resource: Resource<T>) => {
      if (resource.kind === namespaces.kind) return resource.parse({ metadata: { name: 'shop', labels: given.namespaceLabels } });
      if (resource.kind === mutatingWebhookConfigurations.kind) {
        if (given.installed === undefined) return forbidden();
        if (!given.installed) throw new Failure('NOT_FOUND', 'there is none');
        return resource.parse({ metadata: { name: 'kpeering' } });
      }
      return resource.parse(deployment);
    },
    list: async <T extends KubeObject>(resource: Resource<T>) => [resource.parse(resource.kind === pods.kind ? pod : set)],
    can: async () => given.dryRun !== undefined,
    version: async () => ({ major: 1, minor: 35, text: 'v1.35' }),
    create: async <T extends KubeObject>(resource: Resource<T>, object: Manifest) => resource.parse(given.dryRun?.(object)),
    patch: async <T extends KubeObject>(resource: Resource<T>, _name: string, change: unknown) => {
      patches.push(change);
      return resource.parse(deployment);
    },
  };
  const cluster = fakeCluster(parts);
  const questions = { interactive: given.answer !== undefined, ask: async () => given.answer ?? '' };
  const context: InjectContext = { cluster, terminal: silent, questions, yes: given.answer === undefined };
  const [target] = await injectionTargets(cluster, await findWorkload(cluster, { type: 'deployment', name: 'web' }));
  if (target === undefined) throw new Error('no target');
  const inject = async () => await injectWorkload(context, target, { options: {}, wait: false, timeoutMilliseconds: 1_000 });
  return { inject, patches };
}

const asIs = (pod: Manifest): unknown => pod;
const injectedPod = (pod: Manifest): unknown => ({ ...pod, metadata: { ...pod.metadata, labels: { 'kpeering.io/injected': 'true' } } });
const thePatch = [{ kind: 'merge', object: { spec: { template: { metadata: { labels: { 'kpeering.io/inject': 'enabled' } } } } } }];

test('the label is set when the API server would have such a pod injected', async (t) => {
  const { inject, patches } = await stage({ dryRun: injectedPod });
  t.like(await inject(), { state: 'not-waited', pending: ['web-1-x'] });
  t.deepEqual(patches, thePatch);
});

test('who may neither create pods nor read webhooks is not refused: what comes of it tells', async (t) => {
  const { inject, patches } = await stage({});
  await inject();
  t.deepEqual(patches, thePatch);
});

const refusals: readonly (readonly [string, Given, string])[] = [
  [
    "a pod of the node's network",
    { template: { spec: { hostNetwork: true, containers: [] } }, dryRun: injectedPod },
    'INJECT_HOST_NETWORK',
  ],
  ['a namespace that enforces baseline', { namespaceLabels: { 'pod-security.kubernetes.io/enforce': 'baseline' } }, 'INJECT_POD_SECURITY'],
  ['an annotation that is no option', { template: { metadata: { annotations: { 'kpeering.io/moed': 'auto' } } } }, 'INJECT_OPTION'],
  ['no webhook', { installed: false }, 'OPERATOR_MISSING'],
  ['no webhook, and a pod that stays as it is', { dryRun: asIs, installed: false }, 'OPERATOR_MISSING'],
  ['a webhook that does not answer', { dryRun: asIs, installed: true }, 'OPERATOR_SILENT'],
  [
    'a pod that the operator leaves alone',
    { dryRun: (pod) => ({ ...pod, metadata: { ...pod.metadata, annotations: { 'kpeering.io/not-injected': 'for a reason' } } }) },
    'NOT_INJECTED',
  ],
  [
    'a level that only the API server knows',
    {
      dryRun: () => {
        throw new Failure('API_FORBIDDEN', 'pods "web" is forbidden: violates PodSecurity "baseline:latest"');
      },
    },
    'INJECT_POD_SECURITY',
  ],
  [
    'a LimitRange',
    {
      dryRun: () => {
        throw new Failure('API_FORBIDDEN', 'pods "web" is forbidden: minimum cpu usage per Container is 100m');
      },
    },
    'INJECT_REFUSED',
  ],
  ['a question that is answered with no', { dryRun: injectedPod, answer: 'n' }, 'DECLINED'],
];
for (const [what, given, code] of refusals) {
  test(`refused before anything is changed: ${what}`, async (t) => {
    const { inject, patches } = await stage(given);
    t.is((await t.throwsAsync(inject, { instanceOf: Failure }))?.code, code);
    t.deepEqual(patches, []);
  });
}

test('a quota that is full does not refuse: a rollout may end a pod first', async (t) => {
  const { inject, patches } = await stage({
    dryRun: () => {
      throw new Failure('API_FORBIDDEN', 'pods "web" is forbidden: exceeded quota: full');
    },
  });
  await inject();
  t.is(patches.length, 1);
});
