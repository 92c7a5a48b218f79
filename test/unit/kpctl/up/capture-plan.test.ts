import test from 'ava';
import { checkedNetworks, planCapture, type CapturePlan, type CaptureQuestion } from '../../../../src/kpctl/up/capture-plan.ts';
import { formatCidr, parseCidr } from '../../../../src/platform/cidr.ts';
import type { Route } from '../../../../src/platform/routes.ts';

function route(destination: string, device: string, more: Partial<Route> = {}): Route {
  const cidr = parseCidr(destination);
  if (cidr === undefined) throw new Error(destination);
  return { destination: cidr, kind: 'unicast', table: 254, device, deviceKind: undefined, gateway: undefined, ...more };
}

const home = [
  route('0.0.0.0/0', 'wlan0', { gateway: '192.168.1.1' }),
  route('192.168.1.0/24', 'wlan0'),
  route('192.168.1.7/32', 'wlan0', { kind: 'local', table: 255 }),
  route('127.0.0.0/8', 'lo', { kind: 'local', table: 255 }),
  route('fe80::/64', 'wlan0'),
];

function plan(question: Partial<CaptureQuestion> = {}): CapturePlan {
  return planCapture({
    networks: {
      services: [
        { cidr: '10.96.0.0/12', source: 'ServiceCIDR' },
        { cidr: 'fd00:96::/112', source: 'ServiceCIDR' },
      ],
      pods: [
        { cidr: '10.244.0.0/24', source: 'Node' },
        { cidr: '10.244.1.0/24', source: 'Node' },
      ],
    },
    routes: home,
    also: [],
    never: [],
    apiServer: [],
    nameServers: [],
    ...question,
  });
}

test("without an overlap the cluster's networks are captured as they are, and nothing is told", (t) => {
  const { capture, overlaps, warnings, isSwitched, isCluster } = plan();
  t.deepEqual(capture, ['10.96.0.0/12', '10.244.0.0/23', 'fd00:96::/112']);
  t.deepEqual([overlaps, warnings], [[], []]);
  t.false(isSwitched('10.96.0.1'));
  for (const address of ['10.96.0.1', '10.244.1.9', 'fd00:96::7']) t.true(isCluster(address), address);
  for (const address of ['10.244.2.1', '192.168.1.1', '127.0.0.1']) t.false(isCluster(address), address);
});

test('a network inside of a VPN is switched whole; the warning names network, route, device and table', (t) => {
  const vpn = route('10.0.0.0/8', 'wg0', { table: 51820, deviceKind: 'wireguard' });
  const { capture, overlaps, warnings, isSwitched, isCluster } = plan({ routes: [...home, vpn] });
  t.deepEqual(capture, ['198.18.0.0/15', 'fd00:96::/112', 'fd6b:7065:6572::/64']);
  t.true(isSwitched('10.96.0.1') && isSwitched('10.244.0.9') && isCluster('10.96.0.1'));
  t.false(isSwitched('fd00:96::7'));
  t.deepEqual(
    overlaps.map(({ network, of, switched, device }) => [network, of, switched, device]),
    [
      ['10.96.0.0/12', 'Services', '10.96.0.0/12', 'wg0'],
      ['10.244.0.0/24', 'pods', '10.244.0.0/24', 'wg0'],
      ['10.244.1.0/24', 'pods', '10.244.1.0/24', 'wg0'],
    ],
  );
  t.is(warnings.length, 1, 'one for the route');
  t.regex(
    warnings[0] ?? '',
    /^10\.96\.0\.0\/12 and 2 more networks .*route 10\.0\.0\.0\/8 dev wg0 table 51820 \(a VPN: wireguard\).*198\.18\.0\.0\/15/,
  );
});

test('of a network that a route has in part, that part is switched, and its addresses go where they went', (t) => {
  const { capture, isSwitched, isCluster, warnings } = plan({
    routes: [...home, route('10.100.0.0/16', 'docker0', { deviceKind: 'bridge' })],
  });
  t.false(capture.includes('10.96.0.0/12'));
  t.true(capture.includes('10.96.0.0/14') && capture.includes('10.101.0.0/16') && capture.includes('198.18.0.0/15'));
  t.true(isSwitched('10.100.0.7') && !isSwitched('10.96.0.7'));
  t.true(isCluster('10.100.0.7') && isCluster('10.96.0.7'));
  t.regex(
    warnings[0] ?? '',
    /^10\.100\.0\.0\/16 of 10\.96\.0\.0\/12 \(Services\) overlaps this machine's route 10\.100\.0\.0\/16 dev docker0 \(a bridge/,
  );
});

test("default routes, a VPN's halves of one, loopback and link-local overlap nothing; a refused route does", (t) => {
  const wide = ['0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1', '169.254.0.0/16'].map((cidr) => route(cidr, 'tun0'));
  t.deepEqual(plan({ routes: [...home, ...wide] }).overlaps, []);
  const refused = route('10.0.0.0/8', '', { kind: 'refused', device: undefined });
  t.regex(plan({ routes: [...home, refused] }).warnings[0] ?? '', /route refused 10\.0\.0\.0\/8: /);
});

test('--never wins over the cluster, over --also and over synthetic addresses', (t) => {
  const never = ['10.96.0.0/16', '192.0.2.0/24'];
  const simple = plan({ never, also: ['192.0.2.0/24'] });
  t.true(never.every((one) => simple.never.includes(one)));
  t.false(simple.isCluster('10.96.0.9') || simple.isCluster('192.0.2.9'));
  const overlapped = plan({ never: [...never, '10.244.0.0/16'], routes: [...home, route('10.0.0.0/8', 'tun0')] });
  t.false(overlapped.isSwitched('10.96.0.9') || overlapped.isSwitched('10.244.0.9'));
  t.true(overlapped.isSwitched('10.97.0.9'));
  t.deepEqual(plan({ never: ['0.0.0.0/0', '::/0'] }).capture, []);
});

test('--also captures what is asked for, and takes back what a route would switch', (t) => {
  const vpn = route('10.0.0.0/8', 'tun0', { deviceKind: 'tun' });
  const { capture, isSwitched, isCluster, warnings } = plan({ routes: [...home, vpn], also: ['10.96.0.0/16', '203.0.113.7'] });
  t.true(capture.includes('10.96.0.0/16') && capture.includes('203.0.113.7/32'));
  t.true(isCluster('10.96.0.9') && !isSwitched('10.96.0.9') && isSwitched('10.97.0.9') && isCluster('203.0.113.7'));
  t.true(warnings.some((line) => line.startsWith("--also 10.96.0.0/16 overlaps this machine's route 10.0.0.0/8 dev tun0 (a VPN: tun): ")));
});

test('the API server and the name servers are never captured, and it is told where they are in a captured network', (t) => {
  const { never, isCluster, warnings } = plan({ apiServer: ['10.96.200.1', 'fd00:96::ff'], nameServers: ['10.244.0.53', '9.9.9.9'] });
  for (const address of ['10.96.200.1', '10.244.0.53', 'fd00:96::ff']) t.false(isCluster(address), address);
  t.true(['10.96.200.1/32', '9.9.9.9/32'].every((one) => never.includes(one)));
  t.deepEqual(warnings, [
    'the API server 10.96.200.1 is in 10.96.0.0/12: it is not captured',
    'the API server fd00:96::ff is in fd00:96::/112: it is not captured',
    'the name server 10.244.0.53 is in 10.244.0.0/24: it is not captured',
  ]);
});

test('the synthetic ranges stay while they are free, and move when a route takes them', (t) => {
  const vpn = route('10.0.0.0/8', 'tun0');
  const first = plan({ routes: [...home, vpn, route('198.18.5.0/24', 'eth1')] });
  t.is(formatCidr(first.ranges.ipv4), '198.19.0.0/16');
  t.is(formatCidr(plan({ routes: [...home, vpn], ranges: first.ranges }).ranges.ipv4), '198.19.0.0/16');
  t.is(formatCidr(plan({ routes: [...home, vpn, route('198.19.0.0/24', 'eth1')], ranges: first.ranges }).ranges.ipv4), '100.127.0.0/16');
});

test('addresses that were handed out stay captured when the overlap has gone', (t) => {
  const { ranges } = plan({ routes: [...home, route('10.0.0.0/8', 'tun0')] });
  t.true(plan({ ranges, handedOut: true }).capture.includes('198.18.0.0/15'));
  t.false(plan({ ranges, handedOut: false }).capture.includes('198.18.0.0/15'));
});

test('thousands of addresses beside thousands of routes are planned in a moment', (t) => {
  const services = Array.from({ length: 5000 }, (_, index) => ({
    cidr: `10.${96 + (index >> 12)}.${(index >> 4) & 0xff}.${index & 0xf}/32`,
    source: 'Service' as const,
  }));
  const routes = Array.from({ length: 5000 }, (_, index) => route(`10.${96 + (index >> 8)}.${index & 0xff}.0/24`, 'tun0'));
  const started = process.threadCpuUsage();
  const { overlaps } = plan({ networks: { services, pods: [] }, routes });
  t.is(overlaps.length, 5000);
  // Pairs of all with all would take 25 million comparisons: tens of seconds. Of the processor's time, since others use it, too.
  t.true(process.threadCpuUsage(started).user < 4_000_000);
});

test('what is no network is told as such', (t) => {
  t.deepEqual(checkedNetworks('--also', ['10.1.2.3/8', 'fd00::1']), ['10.0.0.0/8', 'fd00::1/128']);
  t.throws(() => checkedNetworks('--also', ['10.0.0/8']), {
    code: 'NETWORK_INVALID',
    message: '--also 10.0.0/8 is neither a network nor an address',
  });
  t.throws(() => checkedNetworks('--also', ['0.0.0.0/0']), { code: 'NETWORK_INVALID' });
  t.deepEqual(checkedNetworks('--never', ['::/0']), ['::/0']);
});
