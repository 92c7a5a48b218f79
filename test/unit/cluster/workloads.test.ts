import test from 'ava';
import { podSchema, type Pod } from '../../../src/cluster/pods.ts';
import { serviceSchema } from '../../../src/cluster/services.ts';
import { deploymentSchema } from '../../../src/cluster/controllers.ts';
import { Failure } from '../../../src/platform/errors.ts';
import type { Cluster, KubeObject, ListOptions, Resource } from '../../../src/cluster/types.ts';
import {
  declaredSidecarOf,
  ephemeralOf,
  findWorkload,
  isReady,
  listWorkloads,
  parseWorkload,
  podsOf,
  resolvePort,
  sidecarOf,
  workloadLabel,
  type Workload,
} from '../../../src/cluster/workloads.ts';
import { fakeCluster } from '../../harness/fake-cluster.ts';

test('NAME and TYPE/NAME with short names, plurals and groups, in any case', (t) => {
  t.deepEqual(parseWorkload('web'), { name: 'web' });
  const types = {
    deploy: 'deployment',
    Deployments: 'deployment',
    'deployment.apps': 'deployment',
    'DEPLOYMENTS.v1.apps': 'deployment',
    sts: 'statefulset',
    ds: 'daemonset',
    rs: 'replicaset',
    job: 'job',
    'jobs.batch': 'job',
    po: 'pod',
    svc: 'service',
    services: 'service',
    'pods.v1': 'pod',
  } as const;
  for (const [text, type] of Object.entries(types)) t.deepEqual(parseWorkload(`${text}/web`), { type, name: 'web' });
  for (const wrong of ['', 'a/b/c', 'cats/web', 'Web', 'deploy/', 'deployment.batch/web', '-web']) {
    const error = t.throws(() => parseWorkload(wrong), { instanceOf: Failure });
    t.is(error.exitCode, 2);
  }
});

const owner = (kind: string, uid: string): object => ({
  ownerReferences: [{ apiVersion: 'apps/v1', kind, name: 'x', uid, controller: true }],
});

function pod(name: string, more: { metadata?: object; spec?: object; status?: object } = {}): Pod {
  return podSchema.parse({
    metadata: { name, namespace: 'shop', uid: name, labels: { app: 'web' }, ...more.metadata },
    spec: {
      containers: [
        {
          name: 'app',
          ports: [
            { name: 'http', containerPort: 8080 },
            { name: 'dns', containerPort: 53, protocol: 'UDP' },
          ],
        },
      ],
      ...more.spec,
    },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }], ...more.status },
  });
}

const template = { spec: { containers: [{ name: 'app', ports: [{ containerPort: 9 }] }] } };
const controller = (name: string, more: object = {}): object => ({
  metadata: { name, namespace: 'shop', uid: `uid-${name}`, ...more },
  spec: { replicas: 1, selector: { matchLabels: { app: 'web' } }, template },
});

/** A cluster that holds these objects by plural; kinds in `forbidden` may not be read. */
function clusterWith(objects: Record<string, readonly object[]>, forbidden: readonly string[] = []): Cluster {
  const read = <T extends KubeObject>(resource: Resource<T>): T[] => {
    if (forbidden.includes(resource.plural)) throw new Failure('API_FORBIDDEN', `${resource.plural} is forbidden`);
    return (objects[resource.plural] ?? []).map((object) => resource.parse(object));
  };
  return fakeCluster({
    get: async <T extends KubeObject>(resource: Resource<T>, name: string) => {
      const found = read(resource).find(({ metadata }) => metadata.name === name);
      if (found === undefined) throw new Failure('NOT_FOUND', 'not found');
      return await Promise.resolve(found);
    },
    list: async <T extends KubeObject>(resource: Resource<T>, _options?: ListOptions) => await Promise.resolve(read(resource)),
  });
}

test('a NAME is found in whatever kind has it; a Service of that name does not make it ambiguous', async (t) => {
  const cluster = clusterWith({ deployments: [controller('web')], services: [{ metadata: { name: 'web' }, spec: {} }] });
  t.is(workloadLabel(await findWorkload(cluster, { name: 'web' })), 'deployment/web');
  t.is(workloadLabel(await findWorkload(cluster, { type: 'service', name: 'web' })), 'service/web');
});

test('two kinds of one NAME are listed, exit code 2', async (t) => {
  const cluster = clusterWith({
    deployments: [controller('web')],
    statefulsets: [controller('web')],
    replicasets: [controller('web', owner('Deployment', 'x'))],
  });
  const error = await t.throwsAsync(findWorkload(cluster, { name: 'web' }), { instanceOf: Failure });
  t.like(error, { code: 'WORKLOAD_AMBIGUOUS', exitCode: 2 });
  t.regex(error.message, /deployment\/web and statefulset\/web in namespace shop/);
});

test('no such NAME: near ones are suggested, or the Service of that name', async (t) => {
  const cluster = clusterWith({
    deployments: [controller('frontend'), controller('db')],
    services: [{ metadata: { name: 'api' }, spec: {} }],
  });
  t.like(await t.throwsAsync(findWorkload(cluster, { name: 'fronted' })), { code: 'WORKLOAD_NOT_FOUND', remedy: 'did you mean frontend' });
  t.like(await t.throwsAsync(findWorkload(cluster, { name: 'api' })), { remedy: 'there is a Service of that name: service/api' });
});

test('kinds that are forbidden are passed over, unless all are', async (t) => {
  const all = ['deployments', 'statefulsets', 'daemonsets', 'replicasets', 'jobs', 'pods'];
  const objects = { deployments: [controller('web')] };
  t.is((await findWorkload(clusterWith(objects, all.slice(1)), { name: 'web' })).type, 'deployment');
  t.like(await t.throwsAsync(findWorkload(clusterWith(objects, all), { name: 'web' })), { code: 'API_FORBIDDEN' });
});

const deployment: Workload = {
  type: 'deployment',
  kind: 'Deployment',
  name: 'web',
  namespace: 'shop',
  object: deploymentSchema.parse(controller('web')),
};

test("a Deployment's pods are those of its ReplicaSets, alive; by its selector where those may not be read", async (t) => {
  const objects = {
    replicasets: [controller('web-1', owner('Deployment', 'uid-web')), controller('other', owner('Deployment', 'uid-other'))],
    pods: [
      pod('web-b', { metadata: owner('ReplicaSet', 'uid-web-1') }),
      pod('web-a', { metadata: owner('ReplicaSet', 'uid-web-1') }),
      pod('gone', { metadata: { ...owner('ReplicaSet', 'uid-web-1'), deletionTimestamp: '2026-01-01T00:00:00Z' } }),
      pod('done', { metadata: owner('ReplicaSet', 'uid-web-1'), status: { phase: 'Succeeded' } }),
      pod('stranger', { metadata: owner('ReplicaSet', 'uid-other') }),
    ],
  };
  const names = async (cluster: Cluster): Promise<string[]> => (await podsOf(cluster, deployment)).map(({ metadata }) => metadata.name);
  t.deepEqual(await names(clusterWith(objects)), ['web-a', 'web-b']);
  t.deepEqual(await names(clusterWith(objects, ['replicasets'])), ['stranger', 'web-a', 'web-b']);
});

test('ready is the condition, and not while the pod is deleted', (t) => {
  t.true(isReady(pod('a')));
  t.false(isReady(pod('a', { status: { conditions: [{ type: 'Ready', status: 'False' }] } })));
  t.false(isReady(pod('a', { metadata: { deletionTimestamp: 'now' } })));
});

test('the sidecar is the container or lasting init container named kpeering, while it runs', (t) => {
  const running = [{ name: 'kpeering', state: { running: {} } }];
  const lasting = { initContainers: [{ name: 'kpeering', restartPolicy: 'Always' }] };
  t.is(sidecarOf(pod('a', { spec: lasting, status: { initContainerStatuses: running } }))?.name, 'kpeering');
  t.is(sidecarOf(pod('a', { spec: { containers: [{ name: 'kpeering' }] }, status: { containerStatuses: running } }))?.name, 'kpeering');
  t.is(
    sidecarOf(pod('a', { spec: lasting, status: { initContainerStatuses: [{ name: 'kpeering', state: { waiting: {} } }] } })),
    undefined,
  );
  t.is(sidecarOf(pod('a', { spec: { initContainers: [{ name: 'kpeering' }] }, status: { initContainerStatuses: running } })), undefined);
});

test("kpeering's ephemeral container is one while it runs, and nothing once it has ended", (t) => {
  const spec = { ephemeralContainers: [{ name: 'debugger' }, { name: 'kpeering-ephemeral-1' }, { name: 'kpeering-ephemeral-2' }] };
  const states = (state: object): object[] => [
    { name: 'debugger', state: { running: {} } },
    { name: 'kpeering-ephemeral-1', state: { terminated: { exitCode: 0 } } },
    { name: 'kpeering-ephemeral-2', state },
  ];
  const running = pod('a', { spec, status: { ephemeralContainerStatuses: states({ running: {} }) } });
  for (const find of [sidecarOf, declaredSidecarOf, ephemeralOf]) t.is(find(running)?.name, 'kpeering-ephemeral-2');
  for (const state of [{ waiting: {} }, { terminated: { exitCode: 0 } }]) {
    const other = pod('a', { spec, status: { ephemeralContainerStatuses: states(state) } });
    for (const find of [sidecarOf, declaredSidecarOf, ephemeralOf]) t.is(find(other), undefined);
  }
});

test('a remote port is a number, declared or not, or a name', (t) => {
  const of = (remote: string): unknown => resolvePort(deployment, [pod('a')], remote).map(({ port, declared }) => [port, declared]);
  t.deepEqual(of('8080'), [[8080, true]]);
  t.deepEqual(of('9999'), [[9999, false]]);
  t.deepEqual(of('53'), [[53, false]], 'declared for UDP only');
  t.deepEqual(of('http'), [[8080, true]]);
  t.like(
    t.throws(() => of('htp')),
    { code: 'PORT_NOT_FOUND', likely: 'it declares 8080 (http), 53/udp (dns)' },
  );
  for (const wrong of ['0', '65536', 'a b', '', 'x_y'])
    t.like(
      t.throws(() => of(wrong)),
      { code: 'PORT_INVALID', exitCode: 2 },
    );
});

test('a protocol is what is asked for, else what a name is declared with, else TCP', (t) => {
  const of = (remote: string, wanted?: 'tcp' | 'udp'): unknown =>
    resolvePort(deployment, [pod('a')], remote, wanted).map(({ port, protocol, declared }) => [port, protocol, declared]);
  t.deepEqual(of('dns'), [[53, 'udp', true]]);
  t.deepEqual(of('dns', 'udp'), [[53, 'udp', true]]);
  t.deepEqual(of('53', 'udp'), [[53, 'udp', true]]);
  t.deepEqual(of('8080', 'udp'), [[8080, 'udp', false]]);
  t.deepEqual(of('http', 'tcp'), [[8080, 'tcp', true]]);
  t.like(
    t.throws(() => of('dns', 'tcp')),
    { code: 'PORT_NOT_FOUND', message: 'the pod a of deployment/web has no TCP port named "dns"' },
  );
});

test("a Service's port of the same number in both protocols: TCP unless UDP is asked for", (t) => {
  const ports = [
    { name: 'dns', port: 53, targetPort: 'dns', protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, targetPort: 5353 },
  ];
  const object = serviceSchema.parse({ metadata: { name: 'web' }, spec: { ports, clusterIP: '10.0.0.1' } });
  const service: Workload = { type: 'service', kind: 'Service', name: 'web', namespace: 'shop', object };
  const of = (remote: string, wanted?: 'tcp' | 'udp'): unknown =>
    resolvePort(service, [pod('a')], remote, wanted).map(({ port, protocol }) => [port, protocol]);
  t.deepEqual(of('53'), [[5353, 'tcp']]);
  t.deepEqual(of('53', 'udp'), [[53, 'udp']]);
  t.deepEqual(of('dns'), [[53, 'udp']]);
  t.deepEqual(of('dns-tcp'), [[5353, 'tcp']]);
  t.like(
    t.throws(() => of('80', 'udp')),
    { code: 'PORT_NOT_FOUND', message: 'service/web has no UDP port 80', likely: 'its ports are 53/udp (dns), 53 (dns-tcp)' },
  );
});

test("a Service's port is mapped through targetPort, by number and by name, for each pod", (t) => {
  const service = (spec: object): Workload => ({
    type: 'service',
    kind: 'Service',
    name: 'web',
    namespace: 'shop',
    object: serviceSchema.parse({ metadata: { name: 'web' }, spec }),
  });
  const ports = [
    { name: 'web', port: 80, targetPort: 'http' },
    { name: 'plain', port: 81, targetPort: 8081 },
    { name: 'same', port: 82 },
  ];
  const other = pod('b', { spec: { containers: [{ name: 'app', ports: [{ name: 'http', containerPort: 9090 }] }] } });
  const of = (remote: string, spec: object = {}): number[] =>
    resolvePort(service({ ports, clusterIP: '10.0.0.1', ...spec }), [pod('a'), other], remote).map(({ port }) => port);
  t.deepEqual(of('80'), [8080, 9090]);
  t.deepEqual(of('web'), [8080, 9090]);
  t.deepEqual(of('plain'), [8081, 8081]);
  t.deepEqual(of('82'), [82, 82]);
  t.like(
    t.throws(() => of('8080')),
    { code: 'PORT_NOT_FOUND', likely: 'its ports are 80 (web), 81 (plain), 82 (same)' },
  );
  t.deepEqual(of('8080', { clusterIP: 'None' }), [8080, 8080]);
});

test('the list has what makes pods with its pods, and pods that nothing made', async (t) => {
  const sidecar = {
    spec: {
      containers: [
        { name: 'app', ports: [{ containerPort: 8080 }] },
        { name: 'kpeering', ports: [{ containerPort: 15306 }] },
      ],
    },
  };
  const cluster = clusterWith(
    {
      deployments: [controller('web'), controller('idle')],
      replicasets: [controller('web-1', owner('Deployment', 'uid-web'))],
      jobs: [controller('old')],
      pods: [
        pod('web-1-a', { metadata: owner('ReplicaSet', 'uid-web-1'), ...sidecar }),
        pod('bare', { metadata: { labels: {} }, status: { conditions: [] } }),
      ],
    },
    ['daemonsets'],
  );
  const lines = (await listWorkloads(cluster)).map(({ type, name, pods, ready, desired, ports, sidecar: has }) => [
    type,
    name,
    pods.length,
    ready,
    desired,
    ports.map(({ containerPort }) => containerPort),
    has,
  ]);
  t.deepEqual(lines, [
    ['pod', 'bare', 1, 0, 1, [53, 8080], 'none'],
    ['deployment', 'idle', 0, 0, 1, [9], 'none'],
    ['deployment', 'web', 1, 1, 1, [8080], 'all'],
  ]);
});
