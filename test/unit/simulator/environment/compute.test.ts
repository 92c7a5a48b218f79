import { readFileSync } from 'node:fs';
import test from 'ava';
import { z } from 'zod';
import { pods, services } from '../../../../src/cluster/resources.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { computeEnvironment } from '../../../../src/simulator/environment/compute.ts';
import type { EnvironmentReaders } from '../../../../src/simulator/environment/compute.ts';
import { chooseContainer } from '../../../../src/simulator/environment/container.ts';
import type { EnvironmentContainer, EnvironmentPod } from '../../../../src/simulator/environment/objects.ts';

const data = z.record(z.string(), z.object({ data: z.record(z.string(), z.string()) }));
/** A pod with every kind of variable, and /proc/self/environ of its containers, from the kubelet of Kubernetes 1.35. */
const captured = z
  .object({
    pod: z.unknown(),
    configMaps: data,
    secrets: data,
    services: z.array(z.unknown()),
    kubernetes: z.unknown(),
    allocatable: z.record(z.string(), z.string()),
    kubelet: z.record(z.string(), z.record(z.string(), z.string())),
  })
  .parse(JSON.parse(readFileSync(new URL('captured-from-kubelet.json', import.meta.url), 'utf8')));

const read: EnvironmentReaders = {
  configMap: (name) => Promise.resolve(captured.configMaps[name]),
  secret: (name) => Promise.resolve(captured.secrets[name]),
  services: (namespace) =>
    Promise.resolve((namespace === 'default' ? [captured.kubernetes] : captured.services).map((raw) => services.parse(raw))),
  allocatable: () => Promise.resolve(captured.allocatable),
};
const nothing: EnvironmentReaders = {
  configMap: () => Promise.resolve(undefined),
  secret: () => Promise.resolve(undefined),
  services: () => Promise.resolve([]),
};
const pod: EnvironmentPod = pods.parse(captured.pod);

/** Without what the image and the runtime add. */
function fromKubelet(container: string, except: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(captured.kubelet[container] ?? {}).filter(([name]) => !except.includes(name)));
}

const podWith = (container: Partial<EnvironmentContainer>, spec: Partial<EnvironmentPod['spec']> = {}): EnvironmentPod => ({
  metadata: { name: 'web-7d9', namespace: 'shop' },
  spec: { containers: [{ name: 'web', ...container }], ...spec },
});

for (const containerName of ['main', 'other']) {
  test(`as the kubelet gave it to container ${containerName}`, async (t) => {
    const { variables, warnings } = await computeEnvironment({ pod, containerName, read });
    t.deepEqual(Object.fromEntries(variables), fromKubelet(containerName, ['PATH', 'HOME']));
    t.deepEqual(warnings, []);
  });
}

test('as the kubelet gave it without service links, on the host network', async (t) => {
  const { variables } = await computeEnvironment({ pod: podWith({}, { enableServiceLinks: false, hostNetwork: true }), read });
  t.deepEqual(Object.fromEntries(variables), fromKubelet('nolinks', ['PATH', 'HOME', 'HOSTNAME']));
});

test('a limit that only the node knows is said, not guessed', async (t) => {
  const without = { ...read, allocatable: () => Promise.reject(new Error('nodes is forbidden')) };
  const { variables, warnings } = await computeEnvironment({ pod, containerName: 'main', read: without });
  t.false(variables.has('R_NONEL'));
  t.regex(warnings[0] ?? '', /^R_NONEL is not set: container bare has no cpu limit/);
});

test('a Secret that cannot be read is named', async (t) => {
  const forbidden = { ...nothing, secret: () => Promise.reject(new Failure('API_FORBIDDEN', 'secrets "creds" is forbidden')) };
  const fromAll = podWith({ envFrom: [{ secretRef: { name: 'creds', optional: true } }] });
  const failure = await t.throwsAsync(computeEnvironment({ pod: fromAll, read: forbidden }), {
    instanceOf: Failure,
    code: 'SECRET_UNREADABLE',
  });
  t.regex(failure?.message ?? '', /Secret shop\/creds/);
  t.is(failure?.exitCode, 1);
  const one = podWith({ env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'creds', key: 'a' } } }] });
  await t.throwsAsync(computeEnvironment({ pod: one, read: nothing }), { code: 'SECRET_UNREADABLE', message: /does not exist/ });
  await t.throwsAsync(computeEnvironment({ pod: one, read: { ...nothing, secret: () => Promise.resolve({}) } }), { message: /no key "a"/ });
  const map = podWith({ envFrom: [{ configMapRef: { name: 'settings' } }] });
  await t.throwsAsync(computeEnvironment({ pod: map, read: nothing }), { code: 'CONFIGMAP_UNREADABLE' });
});

test('each object is read once', async (t) => {
  let reads = 0;
  const secret = (): Promise<{ data: Record<string, string> }> => {
    reads += 1;
    return Promise.resolve({ data: { a: 'YQ==' } });
  };
  const reference = { secretKeyRef: { name: 'creds', key: 'a' } };
  const env = [
    { name: 'A', valueFrom: reference },
    { name: 'B', valueFrom: reference },
  ];
  const { variables } = await computeEnvironment({
    pod: podWith({ envFrom: [{ secretRef: { name: 'creds' } }], env }),
    read: { ...nothing, secret },
  });
  t.is(variables.get('B'), 'a');
  t.is(reads, 1);
});

test('keys that name no variable, and Services that cannot be listed, are warnings', async (t) => {
  const { variables, warnings } = await computeEnvironment({
    pod: podWith({ envFrom: [{ configMapRef: { name: 'settings' } }] }),
    read: {
      ...nothing,
      configMap: () => Promise.resolve({ data: { 'a=b': '1', ümlaut: '2', good: '3' } }),
      services: () => Promise.reject(new Error('services is forbidden')),
    },
  });
  t.is(variables.get('good'), '3');
  t.is(variables.size, 2);
  t.true(warnings.some((warning) => warning.includes('a=b, ümlaut')));
  t.true(warnings.some((warning) => warning.includes('services is forbidden')));
});

test('the container: requested, annotated, or the first that is not ours', (t) => {
  const containers = [{ name: 'kpeering' }, { name: 'web' }, { name: 'log' }];
  const of = (annotation?: string): EnvironmentPod => ({
    metadata: { name: 'p', annotations: annotation === undefined ? {} : { 'kubectl.kubernetes.io/default-container': annotation } },
    spec: { containers, initContainers: [{ name: 'migrate' }] },
  });
  t.is(chooseContainer(of()).name, 'web');
  t.is(chooseContainer(of('log')).name, 'log');
  t.is(chooseContainer(of('gone')).name, 'web');
  t.is(chooseContainer(of('log'), 'web').name, 'web');
  t.is(chooseContainer(of(), 'migrate').name, 'migrate');
  const failure = t.throws(() => chooseContainer(of(), 'nope'), { instanceOf: Failure, code: 'CONTAINER_UNKNOWN' });
  t.regex(failure?.format() ?? '', /kpeering, web, log, migrate/);
});
