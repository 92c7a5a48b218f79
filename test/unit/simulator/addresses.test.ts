import test from 'ava';
import { silentLogger } from '../../../src/platform/log.ts';
import { AddressRanges, watchClusterAddresses } from '../../../src/simulator/addresses.ts';
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

test('what is no range is passed over, and so is one that takes everything', (t) => {
  const ranges = new AddressRanges();
  ranges.set(['0.0.0.0/0', '::/0', '10.0.0.0', '10.0.0.0/33', 'x/8', '10.1.0.0/16']);
  t.deepEqual(ranges.known, ['10.1.0.0/16']);
  t.false(ranges.contains('10.2.0.1'));
});
