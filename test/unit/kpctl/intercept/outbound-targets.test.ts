import test from 'ava';
import { serviceSchema } from '../../../../src/cluster/services.ts';
import type { Cluster, KubeObject, Resource } from '../../../../src/cluster/types.ts';
import { findOutboundTargets, type OutboundTargets } from '../../../../src/kpctl/intercept/outbound-targets.ts';
import { describeRoute } from '../../../../src/kpctl/intercept/routes.ts';
import { parseOutboundMapping } from '../../../../src/kpctl/options.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { FakeWatches } from '../../simulator/fake-watches.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

const ports = [
  { name: 'postgres', port: 5432, targetPort: 15432 },
  { name: 'dns', port: 53, protocol: 'UDP' },
];
const services: Readonly<Record<string, object>> = {
  'shop/db': { clusterIP: '10.96.0.7', clusterIPs: ['10.96.0.7', 'fd00::0:7'], ports },
  'shop/set': { clusterIP: 'None', clusterIPs: ['None'], ports: [{ name: 'web', port: 80, targetPort: 8080 }] },
  'shop/far': { type: 'ExternalName', externalName: 'example.org' },
  'other/db': { clusterIP: '10.96.0.9', clusterIPs: ['10.96.0.9'], ports },
};

function slice(name: string, ...addresses: string[]): KubeObject {
  const object = {
    metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': 'set' } },
    addressType: 'IPv4',
    ports: [{ name: 'web', port: 8080, protocol: 'TCP' }],
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  };
  return object;
}

function clusterOf(watches: FakeWatches): Cluster {
  return fakeCluster({
    namespace: 'elsewhere',
    get: async <T extends KubeObject>(resource: Resource<T>, name: string, options?: { readonly namespace?: string }): Promise<T> => {
      const spec = services[`${options?.namespace}/${name}`];
      if (spec === undefined) throw new Failure('NOT_FOUND', `${name} not found`);
      return await Promise.resolve(resource.parse(serviceSchema.parse({ metadata: { name, namespace: options?.namespace }, spec })));
    },
    watch: (resource, options) => watches.watch(resource, options),
  });
}

async function find(wanted: readonly string[], watches: FakeWatches = new FakeWatches({})): Promise<OutboundTargets> {
  const mappings = wanted.flatMap((text) => parseOutboundMapping(text));
  return await findOutboundTargets(clusterOf(watches), mappings, { namespace: 'shop' });
}

const lines = ({ routes }: OutboundTargets): string[] => routes.map((route) => describeRoute('web-1', route));

test('a Service: all its cluster IPs, its port by number or name; a bare name is of the workload’s namespace', async (t) => {
  await using byName = await find(['3000:db:postgres']);
  t.deepEqual(lines(byName), ['web-1 to 10.96.0.7:5432 → 127.0.0.1:3000', 'web-1 to [fd00::7]:5432 → 127.0.0.1:3000']);
  t.deepEqual(byName.mappings, [{ remote: 'db:postgres', local: 3000 }]);
  await using other = await find(['db.other.svc.cluster.local:5432', 'db:5432']);
  t.deepEqual(lines(other)[0], 'web-1 to 10.96.0.9:5432 → 127.0.0.1:5432');
  t.is(other.routes.length, 3);
});

test('an address, of either family, in the kernel’s spelling', async (t) => {
  await using targets = await find(['10.0.0.1:80', '81:[FD00:0::1]:80']);
  t.deepEqual(lines(targets), ['web-1 to 10.0.0.1:80 → 127.0.0.1:80', 'web-1 to [fd00::1]:80 → 127.0.0.1:81']);
  t.deepEqual(targets.mappings, [
    { remote: '10.0.0.1:80', local: 80 },
    { remote: '[fd00::1]:80', local: 81 },
  ]);
});

test('a headless Service: its endpoints, followed; a number is the pods’ own port, a name the Service’s', async (t) => {
  const watches = new FakeWatches({ endpointslices: [slice('one', '10.244.0.1', '10.244.0.2')] });
  {
    await using named = await find(['3000:set:web'], watches);
    await using numbered = await find(['9090:set:90'], watches);
    let changes = 0;
    named.onChange(() => (changes += 1));
    t.deepEqual(lines(named), ['web-1 to 10.244.0.1:8080 → 127.0.0.1:3000', 'web-1 to 10.244.0.2:8080 → 127.0.0.1:3000']);
    t.deepEqual(lines(numbered)[0], 'web-1 to 10.244.0.1:90 → 127.0.0.1:9090');
    watches.set('endpointslices', slice('one', '10.244.0.2'));
    watches.set('endpointslices', slice('two', '10.244.0.3'));
    t.is(changes, 2);
    t.deepEqual(lines(named), ['web-1 to 10.244.0.2:8080 → 127.0.0.1:3000', 'web-1 to 10.244.0.3:8080 → 127.0.0.1:3000']);
  }
  t.is(watches.open, 0);
});

test('a headless Service without endpoints is told, and waited for', async (t) => {
  await using targets = await find(['set:web'], new FakeWatches({ endpointslices: [] }));
  t.deepEqual(targets.empty, [{ remote: 'set:web', local: 80 }]);
  t.deepEqual(targets.routes, []);
});

test('what cannot be claimed says why; nothing stays watched', async (t) => {
  const watches = new FakeWatches({ endpointslices: [] });
  const fails = async (wanted: readonly string[], expected: object): Promise<void> => {
    const error = await t.throwsAsync(find(['set:web', ...wanted], watches), { instanceOf: Failure });
    t.like(error, expected);
    t.is(watches.open, 0);
  };
  await fails(['nope:80'], { code: 'SERVICE_NOT_FOUND', message: 'there is no Service "nope" in namespace shop' });
  await fails(['db.nowhere:80'], { code: 'SERVICE_NOT_FOUND' });
  await fails(['far:80'], { code: 'SERVICE_WITHOUT_ADDRESS' });
  await fails(['db:80'], { code: 'PORT_NOT_FOUND', likely: 'its ports are 5432 (postgres), 53/udp (dns)' });
  await fails(['db:dns'], { code: 'PORT_NOT_FOUND' });
  await fails(['10.0.0.1:http'], { code: 'PORT_NOT_FOUND' });
  await fails(['127.0.0.1:80'], { code: 'OUTBOUND_LOOPBACK', exitCode: 2 });
  await fails(['[::1]:80'], { code: 'OUTBOUND_LOOPBACK', exitCode: 2 });
  await fails(['1:db:5432', '2:10.96.0.7:5432'], { code: 'PORT_REPEATED', exitCode: 2 });
});

test('without the right to watch endpoints, the API’s own Failure', async (t) => {
  await t.throwsAsync(find(['set:web'], new FakeWatches({}, () => false)), { code: 'API_FORBIDDEN' });
});
