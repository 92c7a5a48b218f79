import test from 'ava';
import { podSchema, type Pod } from '../../../../src/cluster/pods.ts';
import { templatedSchema } from '../../../../src/cluster/templates.ts';
import { stuckReason } from '../../../../src/kpctl/inject/stuck.ts';

function object(conditions: readonly object[] = []) {
  return templatedSchema.parse({ metadata: { name: 'web' }, spec: { template: { spec: {} } }, status: { conditions } });
}

function pod(status: object): Pod {
  return podSchema.parse({ metadata: { name: 'web-1' }, spec: {}, status });
}

test('what keeps a rollout is told in the words of whoever knows', (t) => {
  const quota = { type: 'ReplicaFailure', status: 'True', message: 'exceeded quota: full' };
  t.is(stuckReason(object([quota]), []), 'pods cannot be created: exceeded quota: full');
  const unscheduled = pod({ conditions: [{ type: 'PodScheduled', status: 'False', message: '0/1 nodes are available' }] });
  t.is(stuckReason(object(), [unscheduled]), 'pod web-1 cannot be scheduled: 0/1 nodes are available');
  const pulling = pod({
    initContainerStatuses: [{ name: 'kpeering-init', state: { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } } }],
  });
  t.is(stuckReason(object(), [pulling]), 'pod web-1 does not start: container kpeering-init: ImagePullBackOff: no such image');
  const ended = pod({ initContainerStatuses: [{ name: 'migrate', state: { terminated: { exitCode: 3 } } }] });
  t.is(stuckReason(object(), [ended]), 'pod web-1 does not start: container migrate ended with exit code 3');
});

test('a pod that is starting is no reason, unless time is up', (t) => {
  const starting = pod({ containerStatuses: [{ name: 'app', state: { waiting: { reason: 'PodInitializing' } } }] });
  t.is(stuckReason(object(), [starting], true), undefined);
  const unready = pod({ containerStatuses: [{ name: 'app', ready: false, state: { running: {} } }] });
  t.is(stuckReason(object(), [unready]), undefined);
  t.regex(stuckReason(object(), [unready], true) ?? '', /container app runs, and its readiness probe has not succeeded/u);
});
