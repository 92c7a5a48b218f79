import test from 'ava';
import { endpointSlices, services } from '../../../../src/cluster/resources.ts';

import { Failure } from '../../../../src/platform/errors.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import { endpointSliceRecord, serviceRecord, watchClusterRecords } from '../../../../src/simulator/dns/cluster-records.ts';
import { FakeWatches } from '../fake-watches.ts';

const web = {
  metadata: { name: 'web', namespace: 'shop' },
  spec: { clusterIP: '10.96.0.7', clusterIPs: ['10.96.0.7'], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] },
};
const slice = {
  metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080 }],
  endpoints: [
    { addresses: ['10.244.0.3'], conditions: {} },
    { addresses: ['10.244.0.4'], conditions: { ready: false } },
  ],
};

test('objects as the API has them become records', (t) => {
  t.deepEqual(serviceRecord(services.parse(web)), {
    namespace: 'shop',
    name: 'web',
    type: 'ClusterIP',
    clusterIPs: ['10.96.0.7'],
    ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
    externalName: undefined,
    publishNotReadyAddresses: false,
  });
  const record = endpointSliceRecord(endpointSlices.parse(slice));
  t.is(record?.service, 'web');
  t.deepEqual(record?.ports, [{ name: '', protocol: 'TCP', port: 8080 }]);
  t.deepEqual(
    record?.endpoints.map(({ ready }) => ready),
    [true, false],
  );
  t.is(endpointSliceRecord({ metadata: { name: 'x', namespace: 'y' } }), undefined);
});

test('all namespaces are seen by who may, and changes are followed', async (t) => {
  const watches = new FakeWatches({ services: [web], endpointslices: [slice], namespaces: [{ metadata: { name: 'empty' } }] });
  await using records = await watchClusterRecords({ cluster: watches, namespace: 'shop', log: silentLogger });
  t.is(records.scope, 'cluster');
  t.is(records.service('shop', 'web')?.clusterIPs[0], '10.96.0.7');
  t.is([...records.slices('shop', 'web')].length, 1);
  t.true(records.hasNamespace('empty'));
  t.is(records.ensure('anything'), 'known');
  let changes = 0;
  const unsubscribe = records.onChange(() => (changes += 1));
  watches.set('services', { ...web, metadata: { name: 'later', namespace: 'shop' } });
  t.not(records.service('shop', 'later'), undefined);
  watches.remove('services', web);
  t.is(records.service('shop', 'web'), undefined);
  t.is(changes, 2);
  unsubscribe();
  watches.set('services', web);
  t.is(changes, 2);
  await records.close();
  t.is(watches.open, 0);
});

test("without the right to list all, one's own namespace, and others when asked for", async (t) => {
  const other = { ...web, metadata: { name: 'db', namespace: 'data' } };
  const watches = new FakeWatches(
    { services: [web, other], endpointslices: [slice] },
    ({ namespace }) => namespace === 'shop' || namespace === 'data',
  );
  await using records = await watchClusterRecords({ cluster: watches, namespace: 'shop', log: silentLogger });
  t.is(records.scope, 'namespaces');
  t.not(records.service('shop', 'web'), undefined);
  t.is(records.service('data', 'db'), undefined);
  t.false(records.hasNamespace('data'));
  const first = records.ensure('data');
  t.is(records.ensure('data'), first, 'one watch for two questions');
  t.is(await first, 'known');
  t.is(records.ensure('data'), 'known');
  t.not(records.service('data', 'db'), undefined);
  t.is(await records.ensure('com'), 'forbidden');
  const asked = watches.asked;
  t.is(records.ensure('com'), 'forbidden', 'remembered');
  t.is(watches.asked, asked);
  await records.close();
  t.is(watches.open, 0);
});

test('an API that fails for another reason is passed on, and no watch stays', async (t) => {
  const watches = new FakeWatches({}, () => new Failure('API_UNREACHABLE', 'nobody there'));
  await t.throwsAsync(watchClusterRecords({ cluster: watches, namespace: 'shop', log: silentLogger }), { code: 'API_UNREACHABLE' });
  t.is(watches.open, 0);
});

test('who may see nothing has records of nothing, where the cluster can be asked; else it fails', async (t) => {
  const nothing = (): FakeWatches => new FakeWatches({ services: [web] }, () => false);
  await t.throwsAsync(watchClusterRecords({ cluster: nothing(), namespace: 'shop', log: silentLogger }), { code: 'API_FORBIDDEN' });
  const watches = nothing();
  await using records = await watchClusterRecords({ cluster: watches, namespace: 'shop', elsewhere: true, log: silentLogger });
  t.is(records.scope, 'namespaces');
  t.true(records.hasNamespace('shop'));
  for (const namespace of ['shop', 'data']) t.is(records.knows(namespace), 'unwatched');
  t.is(await records.ensure('shop'), 'forbidden');
  const failing = new FakeWatches({}, ({ namespace }) => namespace !== undefined && new Failure('API_UNREACHABLE', 'nobody there'));
  await t.throwsAsync(watchClusterRecords({ cluster: failing, namespace: 'shop', elsewhere: true, log: silentLogger }), {
    code: 'API_UNREACHABLE',
  });
});

test('it is known which namespaces are watched, and by who may list them, which there are not', async (t) => {
  const listing = new FakeWatches(
    { services: [web], namespaces: [{ metadata: { name: 'shop' } }, { metadata: { name: 'data' } }] },
    (asked) => asked.plural === 'namespaces' || asked.namespace === 'shop',
  );
  await using records = await watchClusterRecords({ cluster: listing, namespace: 'shop', log: silentLogger });
  t.deepEqual(
    ['shop', 'data', 'com'].map((namespace) => records.knows(namespace)),
    ['watched', 'unwatched', 'absent'],
  );
  const all = new FakeWatches({ services: [web] });
  await using every = await watchClusterRecords({ cluster: all, namespace: 'shop', log: silentLogger });
  t.is(every.knows('com'), 'watched');
});
