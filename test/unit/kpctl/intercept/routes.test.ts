import test from 'ava';
import { deploymentSchema } from '../../../../src/cluster/controllers.ts';
import { podSchema, type Pod } from '../../../../src/cluster/pods.ts';
import { serviceSchema } from '../../../../src/cluster/services.ts';
import type { Workload } from '../../../../src/cluster/workloads.ts';
import { describeRoute, resolveRoutes } from '../../../../src/kpctl/intercept/routes.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { ports as ownPorts } from '../../../../src/platform/ports.ts';

function pod(name: string, http = 8080): Pod {
  const ports = [
    { name: 'http', containerPort: http },
    { name: 'admin', containerPort: 9090 },
    { name: 'dns', containerPort: 53, protocol: 'UDP' },
  ];
  return podSchema.parse({ metadata: { name, namespace: 'shop', uid: name }, spec: { containers: [{ name: 'app', ports }] }, status: {} });
}

const web: Workload = {
  type: 'deployment',
  kind: 'Deployment',
  name: 'web',
  namespace: 'shop',
  object: deploymentSchema.parse({
    metadata: { name: 'web', namespace: 'shop', uid: 'web' },
    spec: { replicas: 2, selector: { matchLabels: { app: 'web' } }, template: { metadata: {}, spec: { containers: [] } } },
    status: {},
  }),
};

const service: Workload = {
  type: 'service',
  kind: 'Service',
  name: 'web',
  namespace: 'shop',
  object: serviceSchema.parse({
    metadata: { name: 'web', namespace: 'shop', uid: 'service' },
    spec: { clusterIP: '10.96.0.7', ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
  }),
};

function routesOf(workload: Workload, pods: readonly Pod[], ...wanted: { local?: number; remote: string; protocol?: 'tcp' | 'udp' }[]) {
  const resolved = resolveRoutes(
    workload,
    pods,
    wanted.map(({ local, remote, protocol }) => ({ local, remote, protocol })),
  );
  return {
    ...resolved,
    pods: resolved.pods.map(({ pod: { name }, routes }) => [name, ...routes.map(({ target, local }) => [target.port, local])]),
  };
}

test('every pod has its route; LOCAL defaults to the port that REMOTE names', (t) => {
  const { pods, mappings, warnings } = routesOf(web, [pod('a'), pod('b')], { remote: 'http' }, { local: 3000, remote: '9090' });
  t.deepEqual(pods, [
    ['a', [8080, 8080], [9090, 3000]],
    ['b', [8080, 8080], [9090, 3000]],
  ]);
  t.deepEqual(mappings, [
    { remote: 'http', local: 8080, protocol: 'tcp' },
    { remote: '9090', local: 3000, protocol: 'tcp' },
  ]);
  t.deepEqual(warnings, []);
});

test('a name may mean another number in each pod, as in the middle of a rollout', (t) => {
  const { pods } = routesOf(web, [pod('a', 8080), pod('b', 8081)], { local: 3000, remote: 'http' });
  t.deepEqual(pods, [
    ['a', [8080, 3000]],
    ['b', [8081, 3000]],
  ]);
});

test("a Service's port is mapped through targetPort; LOCAL defaults to the Service's number", (t) => {
  const { pods, mappings } = routesOf(service, [pod('a')], { remote: '80' });
  t.deepEqual(pods, [['a', [8080, 80]]]);
  t.deepEqual(mappings, [{ remote: '80', local: 80, protocol: 'tcp' }]);
});

test('UDP by its declared name or by /udp; the same number in both protocols is two claims', (t) => {
  const { pods, mappings } = resolveRoutes(
    web,
    [pod('a')],
    [
      { local: 5353, remote: 'dns' },
      { local: undefined, remote: '53', protocol: 'tcp' },
    ],
  );
  t.deepEqual(
    pods[0]?.routes.map((route) => [route.target, describeRoute('a', route)]),
    [
      [{ protocol: 'udp', port: 53 }, 'a :53/udp → 127.0.0.1:5353'],
      [{ protocol: 'tcp', port: 53 }, 'a :53 → 127.0.0.1:53'],
    ],
  );
  t.deepEqual(mappings, [
    { remote: 'dns', local: 5353, protocol: 'udp' },
    { remote: '53', local: 53, protocol: 'tcp' },
  ]);
  t.is(describeRoute('a', { target: { protocol: 'tcp', port: 80, address: 'fd00::7' }, local: 80 }), 'a to [fd00::7]:80 → 127.0.0.1:80');
});

test('what a new pod is taken in with is what the first ones were', (t) => {
  const { mappings } = resolveRoutes(web, [pod('a')], [{ local: undefined, remote: 'dns' }]);
  t.deepEqual(resolveRoutes(web, [pod('b')], mappings).pods[0]?.routes, [{ target: { protocol: 'udp', port: 53 }, local: 53 }]);
});

test('a port that no container declares is warned of, and allowed', (t) => {
  const { pods, warnings } = routesOf(web, [pod('a')], { remote: '7777' });
  t.deepEqual(pods, [['a', [7777, 7777]]]);
  t.deepEqual(warnings, ['no container of deployment/web declares port 7777: nothing may listen there']);
});

test('one port twice, and ports of kpeering itself, are wrong usage', (t) => {
  const twice = t.throws(() => routesOf(web, [pod('a')], { local: 1, remote: '8080' }, { local: 2, remote: 'http' }), {
    instanceOf: Failure,
  });
  t.like(twice, { code: 'PORT_REPEATED', exitCode: 2 });
  for (const port of Object.values(ownPorts)) {
    const reserved = t.throws(() => routesOf(web, [pod('a')], { remote: String(port) }), { instanceOf: Failure });
    t.like(reserved, { code: 'PORT_RESERVED', exitCode: 2 });
  }
});
