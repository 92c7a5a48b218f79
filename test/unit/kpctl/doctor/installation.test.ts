import test from 'ava';
import { operatorCheck } from '../../../../src/kpctl/doctor/checks/operator.ts';
import { versionsCheck } from '../../../../src/kpctl/doctor/checks/versions.ts';
import { webhookCheck } from '../../../../src/kpctl/doctor/checks/webhook.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { version } from '../../../../src/platform/version.ts';
import { healthy, installed, lease, lines, look, pod, webhook } from './imitation.ts';

const { objects } = healthy;

test('an operator that is well, and one with fewer pods than wanted', async (t) => {
  t.deepEqual(lines(await look(operatorCheck, healthy)), [
    'ok 2 of 2 pods ready in namespace kpeering-system',
    'ok gateway: 1 of 1 pod ready; when it ends, new calls wait for its successor (kpctl install --gateway-replicas 2: they need not)',
  ]);
  const deployments = [installed('kpeering-operator', 2, 1), installed('kpeering-gateway', 1, 0)];
  t.deepEqual(lines(await look(operatorCheck, { objects: { ...objects, deployments } })), [
    'warning 1 of 2 pods of the operator are ready',
    'warning the gateway is down: kpctl run and up need -w WORKLOAD',
  ]);
});

test('an operator that is down is a problem that says why and what follows', async (t) => {
  const pods = [
    {
      metadata: { name: 'kpeering-operator-1', namespace: 'kpeering-system' },
      spec: { containers: [] },
      status: { containerStatuses: [{ name: 'kpeering', state: { waiting: { reason: 'ImagePullBackOff' } } }] },
    },
  ];
  const seen = await look(operatorCheck, { objects: { ...objects, deployments: [installed('kpeering-operator', 2, 0)], pods } });
  t.deepEqual(lines(seen), [
    'problem the operator is down: none of its 2 pods is ready (kpeering-operator-1 is ImagePullBackOff); pods that start now start without kpeering',
    'note there is no gateway: kpctl run and up need -w WORKLOAD',
  ]);
  t.regex(seen[0]?.fix ?? '', /kpctl logs operator/);
  const scaled = await look(operatorCheck, { objects: { ...objects, deployments: [installed('kpeering-operator', 0, 0)] } });
  t.regex(lines(scaled)[0] ?? '', /^problem the operator is scaled to 0/);
});

test('nothing installed, half installed, and installed where one may not look', async (t) => {
  const nothing = await look(operatorCheck, {});
  t.deepEqual(lines(nothing), ['problem kpeering is not installed in this cluster (no operator in namespace kpeering-system)']);
  t.regex(nothing[0]?.fix ?? '', /kpctl install/);
  const half = await look(operatorCheck, { objects: { mutatingwebhookconfigurations: [webhook()] } });
  t.regex(lines(half)[0] ?? '', /^problem there is the webhook's configuration, and no operator/);
  const hidden = await look(operatorCheck, { hidden: ['deployments', 'mutatingwebhookconfigurations'] });
  t.regex(lines(hidden)[0] ?? '', /^unknown you may not look into namespace kpeering-system/);
});

test('an operator in another namespace is found', async (t) => {
  const elsewhere = { ...installed('kpeering-operator', 1, 1), metadata: { name: 'kpeering-operator', namespace: 'tools', labels: {} } };
  t.deepEqual(
    lines(await look(operatorCheck, { objects: { deployments: [elsewhere], leases: [] } }))[0],
    'ok 1 of 1 pods ready in namespace tools',
  );
});

test('an operator without a leader is a warning', async (t) => {
  for (const leases of [[], [lease(120)]]) {
    t.regex(lines(await look(operatorCheck, { objects: { ...objects, leases } }))[1] ?? '', /^warning no pod of the operator leads/);
  }
});

test('the webhook is tried with a dry run, and what it does to the pod is told', async (t) => {
  const made: object[] = [];
  const answer = (metadata: object) => (manifest: object) => {
    made.push(manifest);
    return { metadata: { name: 'kpctl-doctor', ...metadata }, spec: { containers: [] } };
  };
  const injected = await look(webhookCheck, { ...healthy, create: answer({ labels: { 'kpeering.io/injected': 'true' } }) });
  t.regex(lines(injected)[0] ?? '', /^ok it answers: a dry-run pod in namespace shop was injected in \d+ ms$/);
  t.like(made[0], { metadata: { labels: { 'kpeering.io/inject': 'enabled' } } });
  const alone = await look(webhookCheck, { ...healthy, create: answer({ annotations: { 'kpeering.io/not-injected': 'because' } }) });
  t.deepEqual(lines(alone), ['note it answers, and leaves pods of namespace shop alone: because']);
  const silent = await look(webhookCheck, { ...healthy, create: answer({}) });
  t.regex(lines(silent)[0] ?? '', /^problem the API server does not reach the operator: .* pods that start now start without kpeering$/);
  const ofDeveloper = await look(webhookCheck, {
    ...healthy,
    hidden: ['deployments', 'mutatingwebhookconfigurations'],
    create: answer({}),
  });
  t.regex(lines(ofDeveloper)[0] ?? '', /^problem a dry-run pod .* was not injected: kpeering is not installed, or its operator is down$/);
});

test('without the right to create pods, or where the pod is refused, the webhook is unknown', async (t) => {
  const without = await look(webhookCheck, { ...healthy, can: ({ verb }) => verb !== 'create' });
  t.regex(lines(without)[0] ?? '', /^unknown whether injection answers can only be tried by who may create pods/);
  const refused = await look(webhookCheck, {
    ...healthy,
    create: () => Promise.reject(new Failure('API_FORBIDDEN', 'exceeded quota: pods')),
  });
  t.deepEqual(lines(refused), ['unknown the API server would not make a pod to try it with: exceeded quota: pods']);
});

test('a configuration that is gone is a problem where there is an operator, and no second one where there is none', async (t) => {
  t.regex(
    lines(await look(webhookCheck, { objects: { ...objects, mutatingwebhookconfigurations: [] } }))[0] ?? '',
    /^problem .* is not there/,
  );
  t.deepEqual(lines(await look(webhookCheck, {})), ['unknown not looked at: kpeering is not installed']);
});

test('versions that differ are told, and sidecars of another image', async (t) => {
  const settings = { images: { init: 'init:2', sidecar: 'kpeering/kpeering:2' }, pullPolicy: 'Always' };
  const deployments = [installed('kpeering-operator', 1, 1, '0.0.1', settings), installed('kpeering-gateway', 1, 1, version)];
  const pods = [pod('web-1', { sidecar: 'running' }), pod('web-2', { sidecar: 'running', image: 'kpeering/kpeering:2' })];
  const seen = await look(versionsCheck, { objects: { ...objects, deployments, pods } });
  t.deepEqual(lines(seen), [
    `ok kpctl ${version}, Node ${process.version}, Kubernetes v1.35.4`,
    `warning the operator is of version 0.0.1, kpctl of ${version}`,
    `ok gateway ${version}`,
    "note pod web-1: its sidecar's image is kpeering/kpeering:1, and the operator injects kpeering/kpeering:2 now",
  ]);
  t.is(seen[3]?.fix, 'kubectl -n shop rollout restart deployment/web');
  const old = await look(versionsCheck, { ...healthy, version: () => Promise.resolve({ major: 1, minor: 28, text: 'v1.28.1' }) });
  t.regex(lines(old)[0] ?? '', /^note .* v1\.28\.1: without native sidecars/);
});
