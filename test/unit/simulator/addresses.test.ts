import test from 'ava';
import { silentLogger } from '../../../src/platform/log.ts';
import { watchClusterAddresses } from '../../../src/simulator/addresses.ts';
import { RecordIndex } from '../../../src/simulator/dns/records.ts';
import { FakeWatches } from './fake-watches.ts';

function records(): RecordIndex {
  const index = new RecordIndex();
  const clusterIPs = ['10.96.0.7', 'fd00:96::7'];
  index.setService({ namespace: 'shop', name: 'web', type: 'ClusterIP', clusterIPs, ports: [], publishNotReadyAddresses: false });
  const slice = (namespace: string, service: string, address: string): void =>
    index.setSlice({ namespace, name: `${service}-1`, service, ports: [], endpoints: [{ addresses: [address], ready: false }] });
  slice('shop', 'web', '10.244.0.3');
  slice('default', 'kubernetes', '172.31.250.1');
  return index;
}

const pod = (name: string, ip: string, hostNetwork = false) => ({
  metadata: { name, namespace: 'shop' },
  spec: { containers: [], hostNetwork },
  status: { podIP: ip, podIPs: [{ ip }] },
});
const serviceCidr = { metadata: { name: 'kubernetes' }, spec: { cidrs: ['10.96.0.0/16', 'fd00:96::/112'] } };
const node = { metadata: { name: 'node' }, spec: { podCIDR: '10.244.0.0/24', podCIDRs: ['10.244.0.0/24', 'fd00:244::/64'] } };

test('ranges that the cluster tells, in both families', async (t) => {
  const watches = new FakeWatches({ servicecidrs: [serviceCidr], nodes: [node], pods: [pod('a', '10.9.9.9')] });
  await using addresses = await watchClusterAddresses({ cluster: watches, records: records(), namespace: 'shop', log: silentLogger });
  for (const address of ['10.96.200.1', 'fd00:96::ff', '10.244.0.200', 'fd00:244::1:2', '::ffff:10.96.200.1'])
    t.true(addresses.contains(address), address);
  for (const address of ['10.97.0.1', '192.0.2.1', 'fd00:97::1', '::1', '127.0.0.1', 'nonsense', ''])
    t.false(addresses.contains(address), address);
  t.is(watches.asked, 2, 'no watch on pods where nodes tell their ranges');
  const moved = { ...node, spec: { podCIDRs: ['10.245.0.0/24'] } };
  watches.set('nodes', moved);
  t.true(addresses.contains('10.245.0.1'));
  t.false(addresses.contains('10.244.0.200'));
  await addresses.close();
  t.is(watches.open, 0);
});

test('without the right to read ranges, exactly the addresses that are seen', async (t) => {
  const watches = new FakeWatches(
    { pods: [pod('a', '10.244.0.9'), pod('b', '172.31.250.9', true)] },
    ({ plural, namespace }) => plural === 'pods' && namespace === 'shop',
  );
  const index = records();
  await using addresses = await watchClusterAddresses({ cluster: watches, records: index, namespace: 'shop', log: silentLogger });
  for (const address of ['10.96.0.7', 'fd00:96:0::7', '10.244.0.3', '10.244.0.9']) t.true(addresses.contains(address), address);
  for (const address of ['10.96.0.8', '10.244.0.4', '172.31.250.9']) t.false(addresses.contains(address), address);
  t.false(addresses.contains('172.31.250.1'), "the API server's own address is not the cluster's");
  index.deleteService('shop', 'web');
  t.false(addresses.contains('10.96.0.7'));
  watches.set('pods', pod('successor', '10.244.0.9'));
  watches.remove('pods', pod('a', '10.244.0.9'));
  t.true(addresses.contains('10.244.0.9'), 'its successor has it');
  watches.remove('pods', pod('successor', '10.244.0.9'));
  t.false(addresses.contains('10.244.0.9'));
});

test('what is no range is passed over, and so is one that takes everything', async (t) => {
  const odd = { ...serviceCidr, spec: { cidrs: ['0.0.0.0/0', '::/0', '10.0.0.0', '10.0.0.0/33', 'x/8', '10.1.0.0/16'] } };
  const watches = new FakeWatches({ servicecidrs: [odd], nodes: [node] });
  await using addresses = await watchClusterAddresses({
    cluster: watches,
    records: new RecordIndex(),
    namespace: 'shop',
    log: silentLogger,
  });
  t.deepEqual(addresses.ranges, ['10.1.0.0/16', '10.244.0.0/24', 'fd00:244::/64']);
  t.false(addresses.contains('10.2.0.1'));
});

test('each network says where it is known from, and what could not be read is told', async (t) => {
  const full = new FakeWatches({ servicecidrs: [serviceCidr], nodes: [node] });
  await using ranged = await watchClusterAddresses({ cluster: full, records: records(), namespace: 'shop', log: silentLogger });
  t.deepEqual(ranged.services, [
    { cidr: '10.96.0.0/16', source: 'ServiceCIDR' },
    { cidr: 'fd00:96::/112', source: 'ServiceCIDR' },
  ]);
  t.deepEqual(
    ranged.pods.map(({ cidr }) => cidr),
    ['10.244.0.0/24', 'fd00:244::/64'],
  );
  t.deepEqual(ranged.told, [
    'Services: 10.96.0.0/16, fd00:96::/112 (ServiceCIDR objects)',
    "pods: 10.244.0.0/24, fd00:244::/64 (the Nodes' podCIDRs)",
  ]);
  const poor = new FakeWatches({ pods: [pod('a', '10.244.0.9')] }, ({ plural }) => plural === 'pods');
  await using single = await watchClusterAddresses({ cluster: poor, records: records(), namespace: 'shop', log: silentLogger });
  t.deepEqual(single.services, [
    { cidr: '10.96.0.7/32', source: 'Service' },
    { cidr: 'fd00:96::7/128', source: 'Service' },
  ]);
  t.deepEqual(single.pods, [
    { cidr: '10.244.0.3/32', source: 'EndpointSlice' },
    { cidr: '10.244.0.9/32', source: 'Pod' },
  ]);
  t.deepEqual(single.told, [
    'Services: 2 single addresses; ServiceCIDR objects: you may not read them',
    "pods: 2 single addresses; the Nodes' podCIDRs: you may not read them",
  ]);
});

test("changes are told, those of one moment once, and an answer of the cluster's DNS at once", async (t) => {
  const watches = new FakeWatches({ pods: [] }, ({ plural }) => plural === 'pods');
  await using addresses = await watchClusterAddresses({ cluster: watches, records: records(), namespace: 'shop', log: silentLogger });
  const changes: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  addresses.onChange(() => {
    changes.push(addresses.pods.length);
    resolve();
  });
  for (const name of ['a', 'b', 'c']) watches.set('pods', pod(name, `10.244.0.10${name.codePointAt(0)}`.slice(0, 12)));
  watches.set('pods', pod('d', '10.244.0.200'));
  await promise;
  t.is(changes.length, 1);
  addresses.learn(['10.98.7.6', 'fd00:98:0::6', 'nonsense', '10.96.0.7']);
  t.is(changes.length, 2);
  t.true(addresses.contains('10.98.7.6') && addresses.contains('fd00:98::6'));
  t.deepEqual(
    addresses.pods.filter(({ source }) => source === 'DNS').map(({ cidr }) => cidr),
    ['10.98.7.6/32', 'fd00:98::6/128'],
  );
  addresses.learn(['10.98.7.6']);
  t.is(changes.length, 2, 'nothing new');
});
