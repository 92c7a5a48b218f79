import test from 'ava';
import { templatedResources, type Templated } from '../../../../src/cluster/templates.ts';
import { leaseManifest, leaseName, replacingChange, restoringChange } from '../../../../src/operator/replace/session.ts';

function workload(template: object, labels: object = {}): Templated {
  return templatedResources.deployment.parse({
    metadata: { name: 'worker', namespace: 'shop', uid: 'u-1', resourceVersion: '7', labels },
    spec: { selector: { matchLabels: { app: 'worker' } }, template: { metadata: template, spec: {} } },
  });
}

/** As the API server does with a merge patch (RFC 7386). */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> = typeof target === 'object' && target !== null ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

function after(object: Templated, change: unknown): Templated {
  return templatedResources.deployment.parse(merged(object, change));
}

test('a template without the label gets it for the duration, and is afterwards as it was', (t) => {
  const before = workload({ labels: { app: 'worker' }, annotations: { 'example.com/team': 'orders' } });
  const during = after(before, replacingChange(before, 'worker', 'the-lease'));
  t.deepEqual(during.spec.template.metadata.labels, { app: 'worker', 'kpeering.io/inject': 'enabled' });
  t.deepEqual(during.spec.template.metadata.annotations, {
    'example.com/team': 'orders',
    'kpeering.io/replace': 'worker',
    'kpeering.io/replace-lease': 'the-lease',
    'kpeering.io/replace-added-label': 'true',
  });
  t.deepEqual(after(during, restoringChange(during)), before);
});

test('a label that was there before stays', (t) => {
  const before = workload({ labels: { app: 'worker', 'kpeering.io/inject': 'enabled' } });
  const during = after(before, replacingChange(before, 'worker', 'the-lease'));
  t.deepEqual(after(during, restoringChange(during)), before);
});

test('what others change meanwhile is theirs: only our own entries are taken back', (t) => {
  const before = workload({ labels: { app: 'worker' } });
  const during = after(before, replacingChange(before, 'worker', 'the-lease'));
  const changed = after(during, {
    spec: {
      template: {
        metadata: { labels: { 'kpeering.io/inject': 'disabled', release: '2' }, annotations: { 'kpeering.io/mode': 'redirect' } },
      },
    },
  });
  const { labels, annotations } = after(changed, restoringChange(changed)).spec.template.metadata;
  t.deepEqual(labels, { app: 'worker', 'kpeering.io/inject': 'disabled', release: '2' });
  t.deepEqual(annotations, { 'kpeering.io/mode': 'redirect' });
});

test('a second session that begins before the first was put back does not make the label its own', (t) => {
  const before = workload({ labels: { app: 'worker' } });
  const first = after(before, replacingChange(before, 'worker', 'the-lease'));
  const second = after(first, replacingChange(first, 'other', 'the-lease'));
  t.deepEqual(after(second, restoringChange(second)), before);
});

test('there is nothing to take back of a workload that was not replaced', (t) => {
  t.is(restoringChange(workload({ labels: { app: 'worker', 'kpeering.io/inject': 'enabled' } })), undefined);
});

test('each change is for the version that it was made of', (t) => {
  const object = workload({});
  t.like(replacingChange(object, 'worker', 'the-lease'), { metadata: { resourceVersion: '7' } });
});

test('the Lease is named by its workload, goes with it, and says who has it', (t) => {
  t.is(leaseName('deployment', 'worker'), 'kpeering-replace-deployment-worker');
  const long = leaseName('statefulset', 'w'.repeat(250));
  t.is(long.length, 253);
  t.not(long, leaseName('statefulset', `${'w'.repeat(249)}x`));
  const manifest = leaseManifest({
    type: 'deployment',
    kind: 'Deployment',
    object: workload({}),
    container: 'worker',
    holder: 'ada@laptop',
  });
  t.like(manifest, {
    metadata: {
      labels: { 'kpeering.io/replace': 'true' },
      annotations: { 'kpeering.io/workload': 'deployment/worker', 'kpeering.io/container': 'worker' },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'worker', uid: 'u-1' }],
    },
    spec: { holderIdentity: 'ada@laptop', leaseDurationSeconds: 20 },
  });
});
