import { setImmediate } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { LeftAloneReports, type LeftAlonePod } from '../../../src/operator/left-alone.ts';
import { Failure } from '../../../src/platform/errors.ts';
import { silentLogger } from '../../../src/platform/log.ts';
import { fakeCluster } from '../../harness/fake-cluster.ts';
import { ImitatedApi } from './imitated-api.ts';

const eventSchema = z.object({
  involvedObject: z.object({ kind: z.string(), name: z.string(), uid: z.string() }),
  type: z.literal('Warning'),
  reason: z.literal('NotInjected'),
  message: z.string(),
  count: z.number(),
});

function owner(kind: string, name: string, apiVersion = 'apps/v1') {
  return { apiVersion, kind, name, uid: `uid-of-${name}`, controller: true };
}

function pod(change: Partial<LeftAlonePod>): LeftAlonePod {
  return { namespace: 'shop', name: undefined, controller: undefined, reason: new Failure('INJECT_JOB', 'no'), ...change };
}

/** The Events that come of reports: about whom, and how often. */
async function told(t: ExecutionContext, api: ImitatedApi, reports: readonly LeftAlonePod[]): Promise<readonly string[]> {
  const left = new LeftAloneReports(api.cluster, silentLogger);
  for (const report of reports) left.report(report);
  await left.close();
  const events = [...api.objects].filter(([key]) => key.startsWith('events/shop/')).map(([, object]) => eventSchema.parse(object));
  t.true(events.every(({ involvedObject: { name, uid } }) => uid === `uid-of-${name}`));
  return events
    .map(({ involvedObject, message, count }) => `${involvedObject.kind} ${involvedObject.name}: ${message} x${count}`)
    .toSorted();
}

test("the pods of a Deployment's ReplicaSet are one Event on the Deployment, which is counted up", async (t) => {
  const api = new ImitatedApi();
  api.put('replicasets/shop/web-7d9', {
    metadata: { name: 'web-7d9', namespace: 'shop', ownerReferences: [owner('Deployment', 'web')] },
    spec: { selector: {} },
  });
  const report = pod({ controller: owner('ReplicaSet', 'web-7d9') });
  t.deepEqual(await told(t, api, [report, report, report]), ['Deployment web: no [INJECT_JOB] x3']);
  t.deepEqual(await told(t, api, [report]), ['Deployment web: no [INJECT_JOB] x4']);
  t.deepEqual(await told(t, api, [{ ...report, reason: new Failure('INJECT_OPTION', 'wrong') }]), [
    'Deployment web: no [INJECT_JOB] x4',
    'Deployment web: wrong [INJECT_OPTION] x1',
  ]);
});

test('other controllers are told of themselves, a pod without one of itself', async (t) => {
  const api = new ImitatedApi();
  api.put('pods/shop/bare', { metadata: { name: 'bare', namespace: 'shop', uid: 'uid-of-bare' }, spec: { containers: [] }, status: {} });
  const reports = [
    pod({ controller: owner('StatefulSet', 'db') }),
    pod({ controller: owner('Rollout', 'canary', 'argoproj.io/v1alpha1') }),
    pod({ name: 'bare' }),
    // One that another webhook has refused, and one whose name the API server has yet to make.
    pod({ name: 'gone' }),
    pod({}),
  ];
  t.deepEqual(await told(t, api, reports), [
    'Pod bare: no [INJECT_JOB] x1',
    'Rollout canary: no [INJECT_JOB] x1',
    'StatefulSet db: no [INJECT_JOB] x1',
  ]);
});

test('an API that is down costs an Event, and nothing else', async (t) => {
  const api = new ImitatedApi();
  api.down = true;
  t.deepEqual(await told(t, api, [pod({ controller: owner('StatefulSet', 'db') })]), []);
});

test('while the API server is slow, what comes is gathered, and not asked for beside what is under way', async (t) => {
  const asked: string[] = [];
  const first = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  let under = 0;
  let most = 0;
  const cluster = fakeCluster({
    create: async (resource, object) => {
      most = Math.max(most, ++under);
      asked.push(String(object.metadata.name));
      first.resolve();
      await go.promise;
      under--;
      return resource.parse(object);
    },
  });
  t.timeout(20_000);
  const left = new LeftAloneReports(cluster, silentLogger);
  left.report(pod({ controller: owner('StatefulSet', 'one') }));
  await first.promise;
  left.report(pod({ controller: owner('StatefulSet', 'two') }));
  const closed = left.close();
  await setImmediate();
  t.is(asked.length, 1);
  go.resolve();
  await closed;
  t.is(asked.length, 2);
  t.is(most, 1);
});
