import test from 'ava';
import { desiredPods, rolloutState, rollsByItself } from '../../../src/cluster/rollout-state.ts';
import { templatedSchema, type Templated } from '../../../src/cluster/templates.ts';

function object(spec: object, status: object, generation = 2): Templated {
  return templatedSchema.parse({ metadata: { name: 'web', generation }, spec: { template: { spec: {} }, ...spec }, status });
}

const seen = { observedGeneration: 2 };

test('a Deployment: from the new pods that are still to be made to the old ones that are still to end', (t) => {
  const state = (status: object, spec: object = { replicas: 3 }): string => {
    const { kind, text } = rolloutState('deployment', object(spec, { ...seen, ...status }));
    return `${kind}: ${text}`;
  };
  t.is(state({ observedGeneration: 1 }), 'under-way: its controller has not begun');
  t.is(state({ updatedReplicas: 1, replicas: 4 }), 'under-way: 1 of 3 pods are of the new template');
  t.is(state({ updatedReplicas: 3, replicas: 4, availableReplicas: 4 }), 'under-way: 1 pod of the old template still to end');
  t.is(state({ updatedReplicas: 3, replicas: 3, availableReplicas: 2 }), 'under-way: 2 of 3 new pods are available');
  t.is(state({ updatedReplicas: 3, replicas: 3, availableReplicas: 3 }), 'done: 3 pods of the new template, available');
  t.is(state({}, { replicas: 0 }), 'done: it has no pods now');
  t.is(state({}, { replicas: 3, paused: true }), 'paused: it is paused');
  t.is(
    state({ conditions: [{ type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message: 'it took too long' }] }),
    'failed: it took too long',
  );
});

test('a Deployment whose controller had given up before its template was changed has not failed again', (t) => {
  const exceeded = (lastUpdateTime: string) => ({
    conditions: [{ type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', lastUpdateTime }],
  });
  const counts = { updatedReplicas: 1, replicas: 2, availableReplicas: 1 };
  const before = object({ replicas: 1 }, { ...counts, ...exceeded('2026-01-01T10:00:00Z'), observedGeneration: 1 }, 1);
  const since = (lastUpdateTime: string): string =>
    rolloutState('deployment', object({ replicas: 1 }, { ...seen, ...counts, ...exceeded(lastUpdateTime) }), before).kind;
  t.is(since('2026-01-01T10:00:00Z'), 'under-way', 'the old condition stands until the controller has made progress');
  t.is(since('2026-01-01T10:20:00Z'), 'failed');
  t.is(rolloutState('deployment', { ...before, status: { ...before.status, observedGeneration: 1 } }, before).kind, 'failed', 'unchanged');
});

test('a StatefulSet: its pods one by one, and those below its partition stay', (t) => {
  const state = (spec: object, status: object): string => rolloutState('statefulset', object(spec, { ...seen, ...status })).text;
  const revisions = { currentRevision: 'one', updateRevision: 'two' };
  t.is(state({ replicas: 2 }, { readyReplicas: 1, ...revisions }), '1 of 2 pods are ready');
  t.is(state({ replicas: 2 }, { readyReplicas: 2, updatedReplicas: 1, ...revisions }), '1 of 2 pods are of the new template');
  t.is(
    state({ replicas: 2 }, { readyReplicas: 2, availableReplicas: 2, updatedReplicas: 2, currentRevision: 'two', updateRevision: 'two' }),
    '2 pods of the new template, available',
  );
  const partitioned = { replicas: 3, updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } } };
  t.is(state(partitioned, { readyReplicas: 3, updatedReplicas: 0, ...revisions }), '0 of 1 pods are of the new template');
  const done = rolloutState('statefulset', object(partitioned, { ...seen, readyReplicas: 3, updatedReplicas: 1, ...revisions }));
  t.is(done.kind, 'done');
  t.regex(done.text, /kept back by its partition/u);
});

test('a DaemonSet counts nodes', (t) => {
  const state = (status: object): string => rolloutState('daemonset', object({}, { ...seen, ...status })).text;
  t.is(state({ desiredNumberScheduled: 2, updatedNumberScheduled: 1 }), '1 of 2 pods are of the new template');
  t.is(state({ desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1 }), '1 of 2 pods are available');
  t.is(state({ desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2 }), '2 pods of the new template, available');
  t.is(desiredPods('daemonset', object({}, { desiredNumberScheduled: 2 })), 2);
});

test('pods of OnDelete, of a ReplicaSet and of a Job do not follow by themselves', (t) => {
  const onDelete = object({ updateStrategy: { type: 'OnDelete' } }, seen);
  t.is(rolloutState('statefulset', onDelete).kind, 'by-hand');
  t.is(rolloutState('daemonset', onDelete).kind, 'by-hand');
  t.is(rolloutState('replicaset', object({}, seen)).kind, 'by-hand');
  t.false(rollsByItself('job', object({}, seen)));
  t.true(rollsByItself('deployment', object({}, seen)));
});
