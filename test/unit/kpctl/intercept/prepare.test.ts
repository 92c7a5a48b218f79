import test from 'ava';
import { serviceSchema } from '../../../../src/cluster/services.ts';
import type { KubeObject, Resource } from '../../../../src/cluster/types.ts';
import { mutatingWebhookConfigurations } from '../../../../src/cluster/webhooks.ts';
import type { Workload } from '../../../../src/cluster/workloads.ts';
import type { PreparationContext } from '../../../../src/kpctl/intercept/preparation.ts';
import { prepare } from '../../../../src/kpctl/intercept/prepare.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

const workload: Workload = {
  type: 'service',
  kind: 'Service',
  name: 'web',
  namespace: 'shop',
  object: serviceSchema.parse({ metadata: { name: 'web', namespace: 'shop' }, spec: { selector: { app: 'web' } } }),
};

/** A ready pod; what the API server and the user answer. */
function context(given: { readonly sidecar: boolean; readonly installed?: boolean; readonly answer?: string }): PreparationContext {
  const pod = {
    metadata: { name: 'web-1' },
    spec: { containers: [{ name: 'app' }, ...(given.sidecar ? [{ name: 'kpeering' }] : [])] },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  };
  const cluster = fakeCluster({
    list: async <T extends KubeObject>(resource: Resource<T>) => [resource.parse(pod)],
    get: async <T extends KubeObject>(resource: Resource<T>) => {
      if (given.installed === true) return resource.parse({ metadata: { name: mutatingWebhookConfigurations.kind } });
      throw new Failure('NOT_FOUND', 'there is none');
    },
  });
  return {
    cluster,
    workload,
    terminal: { result: () => {}, progress: () => {}, warn: () => {} },
    questions: { interactive: given.answer !== undefined, ask: async () => given.answer ?? '' },
    yes: false,
    ports: [],
    image: undefined,
  };
}

test('pods with a sidecar need nothing', async (t) => {
  const prepared = await prepare(context({ sidecar: true }), {});
  await prepared.close();
  t.false('admit' in prepared);
});

test('without a terminal the ways to a sidecar are said', async (t) => {
  const error = await t.throwsAsync(prepare(context({ sidecar: false, installed: true }), {}), { instanceOf: Failure });
  t.is(error?.code, 'SIDECAR_MISSING');
  for (const way of ['kpctl inject service/web', '--inject --yes', '--ephemeral']) t.true(error?.remedy?.includes(way), way);
});

test('in a cluster without kpeering that is said as the cause', async (t) => {
  const error = await t.throwsAsync(prepare(context({ sidecar: false }), {}), { instanceOf: Failure });
  t.is(error?.code, 'SIDECAR_MISSING');
  t.regex(error?.format() ?? '', /not installed.*kpctl install.*--ephemeral/u);
});

test('at a terminal the user chooses, and nothing happens without an answer', async (t) => {
  const error = await t.throwsAsync(prepare(context({ sidecar: false, answer: '' }), {}), { instanceOf: Failure });
  t.is(error?.code, 'SIDECAR_MISSING');
  t.regex(error?.remedy ?? '', /nothing was changed/u);
});

test('ways that exclude each other are wrong usage', async (t) => {
  for (const options of [{ ephemeral: true, inject: true }, { ephemeral: true, replace: 'worker' }, { image: 'kpeering/kpeering:dev' }]) {
    t.like(await t.throwsAsync(prepare(context({ sidecar: true }), options), { instanceOf: Failure }), { code: 'USAGE', exitCode: 2 });
  }
});
