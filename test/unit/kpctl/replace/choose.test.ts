import test from 'ava';
import { templatedResources } from '../../../../src/cluster/templates.ts';
import { workloadResources } from '../../../../src/cluster/workload-reference.ts';
import { chooseReplaced, replaceableTarget } from '../../../../src/kpctl/replace/choose.ts';
import type { ChangeableType, Target } from '../../../../src/kpctl/inject/targets.ts';
import { Failure } from '../../../../src/platform/errors.ts';

interface Parts {
  readonly type?: ChangeableType;
  readonly name?: string;
  readonly spec?: object;
  readonly labels?: object;
  readonly annotations?: object;
  readonly containers?: readonly string[];
}

function target({
  type = 'deployment',
  name = 'worker',
  spec = {},
  labels = {},
  annotations = {},
  containers = ['worker'],
}: Parts = {}): Target {
  const raw = {
    metadata: { name, namespace: 'shop', uid: 'u' },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels, annotations }, spec: { containers: containers.map((container) => ({ name: container })) } },
      ...spec,
    },
  };
  // Only what messages are made of is looked at in it.
  const workload = {
    type: 'deployment',
    kind: 'Deployment',
    name,
    namespace: 'shop',
    object: workloadResources.deployment.parse(raw),
  } as const;
  return { type, name, namespace: 'shop', object: templatedResources[type].parse(raw), workload };
}

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
  return 'none';
}

test('workloads whose pods follow their template there and back can be replaced', (t) => {
  for (const type of ['deployment', 'statefulset', 'daemonset'] as const) t.is(replaceableTarget([target({ type })]).type, type);
});

test('others are refused, with a code', (t) => {
  const refused: readonly Parts[] = [
    { type: 'replicaset' },
    { type: 'statefulset', spec: { updateStrategy: { type: 'OnDelete' } } },
    { type: 'daemonset', spec: { updateStrategy: { type: 'OnDelete' } } },
    { type: 'statefulset', spec: { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 1 } } } },
    { spec: { paused: true } },
    { labels: { 'kpeering.io/inject': 'disabled' } },
  ];
  for (const parts of refused) {
    t.is(
      codeOf(() => replaceableTarget([target(parts)])),
      'REPLACE_REFUSED',
      JSON.stringify(parts),
    );
  }
  t.is(
    codeOf(() => replaceableTarget([target(), target({ name: 'other' })])),
    'REPLACE_REFUSED',
  );
  t.is(
    codeOf(() => replaceableTarget([target({ spec: { replicas: 0 } })])),
    'NO_READY_POD',
  );
});

test('the container is the one that is named, else the one that kubectl takes, else the only one', (t) => {
  t.is(chooseReplaced(target(), undefined), 'worker');
  t.is(chooseReplaced(target({ containers: ['a', 'b'] }), 'b'), 'b');
  t.is(chooseReplaced(target({ containers: ['a', 'b'], annotations: { 'kubectl.kubernetes.io/default-container': 'b' } }), undefined), 'b');
});

test('several without a choice, and one that is not there, are wrong usage', (t) => {
  t.is(
    codeOf(() => chooseReplaced(target({ containers: ['a', 'b'] }), undefined)),
    'CONTAINER_REQUIRED',
  );
  t.is(
    codeOf(() => chooseReplaced(target(), 'wrker')),
    'CONTAINER_UNKNOWN',
  );
  t.is(
    codeOf(() => chooseReplaced(target({ containers: ['a', 'kpeering'] }), 'kpeering')),
    'CONTAINER_UNKNOWN',
  );
});
