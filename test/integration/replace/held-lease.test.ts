import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { templatedResources } from '../../../src/cluster/templates.ts';
import { workloadResources } from '../../../src/cluster/workload-reference.ts';
import type { ReplaceableTarget } from '../../../src/kpctl/replace/choose.ts';
import { assertFree, HeldLease } from '../../../src/kpctl/replace/held-lease.ts';
import { Failure } from '../../../src/platform/errors.ts';
import { clusterOf, json as answer, startApi } from '../cluster/api.ts';

/** An API server with one Deployment, `worker`, and its Lease. */
interface Api {
  lease: object | undefined;
  annotations: object;
  /** Of the answers to renewals. */
  status: number;
  readonly renewals: unknown[];
  /** Resolves with the next renewal. */
  renewed: PromiseWithResolvers<void>;
}

const workload = {
  metadata: { name: 'worker', namespace: 'shop', uid: 'u' },
  spec: { selector: { matchLabels: {} }, template: { metadata: {}, spec: { containers: [] } } },
};
const target: ReplaceableTarget = {
  type: 'deployment',
  name: 'worker',
  namespace: 'shop',
  object: templatedResources.deployment.parse(workload),
  workload: {
    type: 'deployment',
    kind: 'Deployment',
    name: 'worker',
    namespace: 'shop',
    object: workloadResources.deployment.parse(workload),
  },
};
const named = { 'kpeering.io/replace-lease': 'kpeering-replace-deployment-worker' };

async function stage(t: ExecutionContext) {
  const api: Api = { lease: undefined, annotations: {}, status: 200, renewals: [], renewed: Promise.withResolvers() };
  const server = await startApi(t, (request, response) => {
    const status = (code: number): void =>
      answer(response, { kind: 'Status', reason: code === 409 ? 'AlreadyExists' : 'Other', message: 'no' }, code);
    void (async () => {
      if (request.url?.includes('/deployments/') === true) {
        answer(response, { ...workload, spec: { ...workload.spec, template: { metadata: { annotations: api.annotations }, spec: {} } } });
      } else if (request.method === 'POST') {
        if (api.lease !== undefined) return status(409);
        api.lease = withUid(await bodyOf(request));
        answer(response, api.lease, 201);
      } else if (api.lease === undefined) {
        status(404);
      } else if (request.method === 'PATCH') {
        api.renewals.push(await bodyOf(request));
        api.renewed.resolve();
        api.renewed = Promise.withResolvers();
        if (api.status === 200) answer(response, api.lease);
        else status(api.status);
      } else if (request.method === 'DELETE') {
        api.lease = undefined;
        answer(response, {});
      } else {
        answer(response, api.lease);
      }
    })();
  });
  const cluster = await clusterOf(t, { server: server.url });
  const take = async (holder = 'ada@laptop'): Promise<HeldLease> => {
    const held = await HeldLease.take({ cluster, target, container: 'worker', holder, renewMilliseconds: 30 }, {});
    t.teardown(async () => await held.close());
    return held;
  };
  return { api, cluster, take };
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  return await json(request);
}

function withUid(body: unknown): object {
  if (typeof body !== 'object' || body === null || !('metadata' in body) || typeof body.metadata !== 'object') throw new Error('no object');
  return { ...body, metadata: { ...body.metadata, namespace: 'shop', uid: 'lease-1' } };
}

async function codeWhenLost(held: HeldLease): Promise<string> {
  if (!held.lost.aborted) await once(held.lost, 'abort');
  const reason: unknown = held.lost.reason;
  return reason instanceof Failure ? `${reason.code}: ${reason.message}` : String(reason);
}

test('it is renewed, as the Lease that it is and no other, until it is given back', async (t) => {
  const { api, take } = await stage(t);
  const held = await take();
  for (let count = 0; count < 3; count++) await api.renewed.promise;
  t.like(api.renewals[0], { metadata: { uid: 'lease-1' } });
  await held.release();
  t.is(api.lease, undefined);
  t.false(held.lost.aborted);
});

test('a second one is told who has it, before it asks its user and when it tries', async (t) => {
  const { cluster, take } = await stage(t);
  await assertFree(cluster, target, {});
  await take();
  const told = { code: 'REPLACE_HELD', message: /container worker of deployment\/worker is replaced by ada@laptop since 20/ };
  await t.throwsAsync(assertFree(cluster, target, {}), told);
  await t.throwsAsync(take('grace@desk'), told);
});

test('when the operator has ended the session this is known', async (t) => {
  const { api, take } = await stage(t);
  const held = await take();
  api.lease = undefined;
  t.is(await codeWhenLost(held), 'REPLACE_ENDED: the original container of deployment/worker is put back by the operator');
});

test("when the Lease of that name is another session's this is known, too", async (t) => {
  const { api, take } = await stage(t);
  const held = await take();
  t.false(await held.isTaken());
  if (api.lease !== undefined) api.lease = { ...api.lease, metadata: { name: 'kpeering-replace-deployment-worker', uid: 'lease-2' } };
  t.true(await held.isTaken());
  api.status = 422;
  t.regex(await codeWhenLost(held), /^REPLACE_ENDED/);
});

test('an API server that fails for a while loses nothing', async (t) => {
  const { api, take } = await stage(t);
  api.status = 500;
  const held = await take();
  for (let count = 0; count < 3; count++) await api.renewed.promise;
  api.status = 200;
  await api.renewed.promise;
  t.false(held.lost.aborted);
});

test('when somebody has taken the annotations out of the template this is known', async (t) => {
  const { api, take } = await stage(t);
  const held = await take();
  api.annotations = named;
  held.watchTemplate(true);
  for (let count = 0; count < 3; count++) await api.renewed.promise;
  t.false(held.lost.aborted);
  api.annotations = {};
  t.is(await codeWhenLost(held), 'REPLACE_ENDED: the original container of deployment/worker comes back');
});
