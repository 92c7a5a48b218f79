import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import type { LeftAlonePod } from '../../../../src/operator/left-alone.ts';
import { Admission, type AdmissionOptions } from '../../../../src/operator/webhook/admission.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import { namespace, pod, settings } from '../injection/stage.ts';

const answerSchema = z.object({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  response: z.strictObject({
    uid: z.string(),
    allowed: z.literal(true),
    patchType: z.literal('JSONPatch').optional(),
    patch: z.string().optional(),
    warnings: z.array(z.string()).optional(),
  }),
});

function stage(changes: Partial<AdmissionOptions> = {}) {
  const outcomes: string[] = [];
  const codes: string[] = [];
  const reports: LeftAlonePod[] = [];
  const admission = new Admission({
    settings,
    namespaces: { find: async () => namespace, ask: async () => namespace },
    report: (left) => void reports.push(left),
    count: { answered: (outcome) => void outcomes.push(outcome), leftAlone: (code) => void codes.push(code) },
    log: silentLogger,
    ...changes,
  });
  return { admission, outcomes, codes, reports };
}

function review(request: object = {}): string {
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'u1',
      kind: { group: '', version: 'v1', kind: 'Pod' },
      resource: { group: '', version: 'v1', resource: 'pods' },
      operation: 'CREATE',
      namespace: 'shop',
      dryRun: false,
      object: pod(),
      ...request,
    },
  });
}

/** The response, which allows. */
async function allowed(t: ExecutionContext, admission: Admission, text: string) {
  const { status, body } = await admission.answer(text);
  t.is(status, 200);
  const { response } = answerSchema.parse(JSON.parse(body));
  t.is(response.uid, 'u1');
  return response;
}

/** An owner reference. */
const replicaSet = { kind: 'ReplicaSet', apiVersion: 'apps/v1', name: 'web-7d9', uid: 'r1', controller: true };

test('a pod that is to be injected is answered with a JSON patch', async (t) => {
  const { admission, outcomes } = stage();
  const { patch, patchType } = await allowed(t, admission, review());
  t.is(patchType, 'JSONPatch');
  t.regex(Buffer.from(patch ?? '', 'base64').toString(), /"name":"kpeering-init"/u);
  t.deepEqual(outcomes, ['injected']);
});

test('one that is left alone has the annotation, a warning, and is reported with its controller', async (t) => {
  const { admission, outcomes, codes, reports } = stage();
  const base = z.looseObject({}).parse(pod({ spec: { hostNetwork: true } }));
  const object = { ...base, metadata: { generateName: 'web-7d9-', ownerReferences: [replicaSet] } };
  const { patch, warnings } = await allowed(t, admission, review({ object }));
  t.regex(Buffer.from(patch ?? '', 'base64').toString(), /kpeering\.io\/not-injected/u);
  t.regex(warnings?.[0] ?? '', /^kpeering: not injected: the pod has hostNetwork/u);
  t.deepEqual([outcomes, codes], [['left-alone'], ['INJECT_HOST_NETWORK']]);
  const [report] = reports;
  t.deepEqual([report?.namespace, report?.name, report?.controller?.uid], ['shop', undefined, 'r1']);
});

test('a dry run writes nothing: no report', async (t) => {
  const { admission, outcomes, reports } = stage();
  await allowed(t, admission, review({ dryRun: true, object: pod({ spec: { hostNetwork: true } }) }));
  t.deepEqual([outcomes, reports], [['left-alone'], []]);
});

test('a namespace that got its label a moment ago is asked for again', async (t) => {
  const { admission, outcomes } = stage({ namespaces: { find: async () => ({ ...namespace, labels: {} }), ask: async () => namespace } });
  t.truthy((await allowed(t, admission, review())).patch);
  t.deepEqual(outcomes, ['injected']);
});

test('a namespace that cannot be had does not keep the pod from starting', async (t) => {
  const find = async (): Promise<never> => {
    throw new Failure('API_UNREACHABLE', 'down');
  };
  const { admission, outcomes } = stage({ namespaces: { find, ask: find } });
  t.deepEqual(await allowed(t, admission, review()), { uid: 'u1', allowed: true });
  t.deepEqual(outcomes, ['failed']);
});

test('a bug of ours does not keep the pod from starting', async (t) => {
  const { admission, outcomes } = stage({
    report: () => {
      throw new TypeError('a bug');
    },
  });
  t.deepEqual(await allowed(t, admission, review({ object: pod({ spec: { hostNetwork: true } }) })), { uid: 'u1', allowed: true });
  t.deepEqual(outcomes, ['failed']);
});

test('a review that is not understood is allowed as soon as it has a uid', async (t) => {
  const { admission, outcomes } = stage();
  const text = JSON.stringify({ apiVersion: 'admission.k8s.io/v2', kind: 'AdmissionReview', request: { uid: 'u1' } });
  t.deepEqual(await allowed(t, admission, text), { uid: 'u1', allowed: true });
  t.deepEqual(outcomes, ['unreadable']);
});

test('what has no uid is a bad request, which the API server ignores', async (t) => {
  const { admission, outcomes } = stage();
  for (const text of ['', 'null', '[]', '{"request":{}}', '{'.repeat(100_000)]) t.is((await admission.answer(text)).status, 400);
  t.deepEqual(new Set(outcomes), new Set(['unreadable']));
});

test('a pod that cannot be read is left alone', async (t) => {
  for (const object of [null, 1, {}, { spec: { containers: 'many' } }]) {
    const { admission, codes } = stage();
    t.is((await allowed(t, admission, review({ object }))).patch, undefined);
    t.deepEqual(codes, ['INJECT_POD']);
  }
});

test('other objects and operations are none of its business', async (t) => {
  const { admission, outcomes } = stage();
  for (const change of [
    { operation: 'UPDATE' },
    { kind: { group: 'apps', version: 'v1', kind: 'Deployment' } },
    { subResource: 'ephemeralcontainers' },
    { namespace: '' },
  ]) {
    t.deepEqual(await allowed(t, admission, review(change)), { uid: 'u1', allowed: true });
  }
  t.deepEqual(new Set(outcomes), new Set(['not-requested']));
});
