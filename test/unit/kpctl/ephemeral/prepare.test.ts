import test from 'ava';
import { prepareEphemeral } from '../../../../src/kpctl/ephemeral/index.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { version } from '../../../../src/platform/version.ts';
import { Imitation, contextFor, readyPod } from './imitation.ts';

const settings = JSON.stringify({ images: { init: 'r.io/init:2', sidecar: 'r.io/kpeering:2' }, pullPolicy: 'IfNotPresent' });

test('every ready pod without a sidecar gets one, after it was said what that means', async (t) => {
  const pods = new Imitation([
    readyPod('web-1'),
    readyPod('web-2', { containers: [{ name: 'web', readinessProbe: { tcpSocket: { port: 8080 } } }] }),
  ]);
  const { context, said } = contextFor(pods.cluster, { ports: [{ local: 3000, remote: '8080' }] });
  await prepareEphemeral(context);
  t.deepEqual(pods.entries('web-1'), [`kpeering-ephemeral-1 kpeering/kpeering:${version}`]);
  t.deepEqual(pods.entries('web-2'), pods.entries('web-1'));
  t.deepEqual(new Set(pods.patches), new Set(['web-1 strategic ephemeralcontainers', 'web-2 strategic ephemeralcontainers']));
  t.regex(said[0] ?? '', /2 running pods of pod\/web .*cannot be removed: its entry stays in the pod until that is replaced/u);
  t.is(
    said[1],
    'warning: the readinessProbe of container web asks port 8080: while it is claimed, the kubelet asks your process, not the app',
  );
  t.is(said.length, 2);
});

test('one that runs already is used, and nothing is said or asked', async (t) => {
  const pods = new Imitation([readyPod('web-1')]);
  await prepareEphemeral(contextFor(pods.cluster).context);
  const { context, said } = contextFor(pods.cluster, { yes: false });
  await prepareEphemeral(context);
  t.is(pods.patches.length, 1);
  t.deepEqual(said, []);
});

test('one that has ended is not: the next one has a new name', async (t) => {
  const pod = readyPod('web-1');
  pod.spec.ephemeralContainers = [
    { name: 'debugger', image: 'busybox' },
    { name: 'kpeering-ephemeral-9', image: 'old' },
    { name: 'kpeering-ephemeral-10', image: 'old' },
  ];
  pod.status.ephemeralContainerStatuses = ['debugger', 'kpeering-ephemeral-9', 'kpeering-ephemeral-10'].map((name) => ({
    name,
    state: { terminated: { exitCode: 0 } },
  }));
  const pods = new Imitation([pod]);
  await prepareEphemeral(contextFor(pods.cluster, { image: 'mine:1' }).context);
  t.is(pods.entries('web-1').at(-1), 'kpeering-ephemeral-11 mine:1');
});

test('where nobody can be asked and nobody has agreed, nothing is changed', async (t) => {
  const pods = new Imitation([readyPod('web-1')]);
  const error = await t.throwsAsync(prepareEphemeral(contextFor(pods.cluster, { yes: false }).context), { instanceOf: Failure });
  t.is(error.code, 'CONFIRMATION_REQUIRED');
  t.deepEqual(pods.patches, []);
});

test("the image is the one asked for, else the operator's, else the one of this version", async (t) => {
  for (const [image, known, expected] of [
    ['mine:1', settings, 'mine:1'],
    [undefined, settings, 'r.io/kpeering:2'],
    [undefined, '{"of":"another version"}', `kpeering/kpeering:${version}`],
  ] as const) {
    const pods = new Imitation([readyPod('web-1')], { settings: known });
    await prepareEphemeral(contextFor(pods.cluster, { image }).context);
    t.deepEqual(pods.entries('web-1'), [`kpeering-ephemeral-1 ${expected}`]);
  }
});

const refused: Readonly<Record<string, readonly [object, string]>> = {
  "a pod with its node's network": [{ hostNetwork: true }, 'INJECT_HOST_NETWORK'],
  'a pod for Windows': [{ os: { name: 'windows' } }, 'INJECT_WINDOWS'],
  'an app that runs as our group': [{ securityContext: { runAsGroup: 15300 } }, 'INJECT_GROUP'],
  'an app with one of our ports': [{ containers: [{ name: 'web', ports: [{ name: 'http', containerPort: 15310 }] }] }, 'INJECT_PORT'],
};
for (const [name, [spec, code]] of Object.entries(refused)) {
  test(`${name} is refused before any pod is changed`, async (t) => {
    const pods = new Imitation([readyPod('web-1'), readyPod('web-2', spec)]);
    const error = await t.throwsAsync(prepareEphemeral(contextFor(pods.cluster).context), {
      instanceOf: Failure,
      message: /pod web-2 gets no/u,
    });
    t.is(error.code, code);
    t.deepEqual(pods.patches, []);
  });
}

test('a static pod is refused', async (t) => {
  const pod = { ...readyPod('web-1'), metadata: { name: 'web-1', namespace: 'shop', annotations: { 'kubernetes.io/config.mirror': 'x' } } };
  const error = await t.throwsAsync(prepareEphemeral(contextFor(new Imitation([pod]).cluster).context), { instanceOf: Failure });
  t.is(error.code, 'INJECT_STATIC_POD');
});

test('Pod Security is looked at before, and believed after', async (t) => {
  const labels = { 'pod-security.kubernetes.io/enforce': 'baseline' };
  const known = new Imitation([readyPod('web-1')], { labels });
  const before = await t.throwsAsync(prepareEphemeral(contextFor(known.cluster).context), { instanceOf: Failure });
  t.is(before.code, 'INJECT_POD_SECURITY');
  t.regex(before.format(), /enforces the Pod Security level baseline \(kpeering-ephemeral-1 adds NET_ADMIN and NET_RAW\)/u);
  t.deepEqual(known.patches, []);
  const said = 'pods "web-1" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities';
  const unknown = new Imitation([readyPod('web-1')], { refuse: () => new Failure('API_FORBIDDEN', said) });
  const after = await t.throwsAsync(prepareEphemeral(contextFor(unknown.cluster).context), { instanceOf: Failure });
  t.is(after.code, 'INJECT_POD_SECURITY');
  t.true(after.message.includes(said));
});

test('a right that is missing stays what the API server calls it', async (t) => {
  const said =
    'pods "web-1" is forbidden: User "dev" cannot patch resource "pods/ephemeralcontainers" in API group "" in the namespace "shop"';
  const pods = new Imitation([readyPod('web-1')], { refuse: () => new Failure('API_FORBIDDEN', said) });
  const error = await t.throwsAsync(prepareEphemeral(contextFor(pods.cluster).context), { instanceOf: Failure, message: said });
  t.is(error.code, 'API_FORBIDDEN');
});

test('a name that somebody else has taken meanwhile: theirs is used', async (t) => {
  const pod = readyPod('web-1');
  const pods = new Imitation([pod], {
    refuse: () => {
      pod.spec.ephemeralContainers = [{ name: 'kpeering-ephemeral-1', image: 'theirs' }];
      pod.status.ephemeralContainerStatuses = [{ name: 'kpeering-ephemeral-1', state: { running: {} } }];
      return new Failure('API_INVALID', 'spec.ephemeralContainers: Forbidden: existing ephemeral containers may not be changed');
    },
  });
  await prepareEphemeral(contextFor(pods.cluster).context);
  t.deepEqual(pods.entries('web-1'), ['kpeering-ephemeral-1 theirs']);
  t.is(pods.patches.length, 1);
});

test('what keeps it from starting is told: the image, the runtime, its own end', async (t) => {
  for (const [state, code, says] of [
    [
      { waiting: { reason: 'ErrImagePull', message: 'pull access denied' } },
      'EPHEMERAL_IMAGE',
      /image kpeering\/kpeering:.*: pull access denied/u,
    ],
    [
      { waiting: { reason: 'CreateContainerError', message: 'no such user' } },
      'EPHEMERAL_NOT_STARTED',
      /kpeering-ephemeral-1 of pod web-1: no such user/u,
    ],
    [{ terminated: { exitCode: 1 } }, 'EPHEMERAL_NOT_STARTED', /exit code 1/u],
  ] as const) {
    const pods = new Imitation([readyPod('web-1')], { state });
    const error = await t.throwsAsync(prepareEphemeral(contextFor(pods.cluster).context), { instanceOf: Failure, message: says });
    t.is(error.code, code);
  }
});

test('a pod that comes later gets one without a question; one whose sidecar is down does not', async (t) => {
  const pods = new Imitation([]);
  const { context, said } = contextFor(pods.cluster, { yes: false });
  const preparation = await prepareEphemeral(context);
  pods.pods.push(readyPod('web-3'), readyPod('web-4', { containers: [{ name: 'kpeering' }] }));
  await preparation.admit?.(pods.pod('web-3'));
  t.deepEqual(said, ['pod web-3 is new: it gets the ephemeral container kpeering-ephemeral-1']);
  await t.throwsAsync(preparation.admit?.(pods.pod('web-4')) ?? Promise.resolve(), { message: /sidecar of pod web-4 does not run/u });
  t.is(pods.patches.length, 1);
  await preparation.close();
});
