import test from 'ava';
import { nameServiceSwitch } from '../../../../src/simulator/network/inside/files.ts';
import { parseListeningPorts } from '../../../../src/simulator/network/listening-ports.ts';
import { hasIpv6DefaultRoute } from '../../../../src/simulator/network/ipv6-route.ts';
import { captureRules, interfaceBatch } from '../../../../src/simulator/network/rules.ts';

const rest = '00000000:00000000 00:00000000 00000000  1000        0 10551 1 0000000000000000 100 0 0 10 0';
const tcp = [
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
  `   0: 0100007F:1F90 00000000:0000 0A ${rest}`,
  `   1: 00000000:0050 00000000:0000 0A ${rest}`,
  `   2: 0200  12C6:0051 00000000:0000 0A ${rest}`.replace('0200  12C6', '020012C6'),
  `   3: 010012C6:0001 00000000:0000 0A ${rest}`,
  `   4: 350012C6:0035 00000000:0000 0A ${rest}`,
  `   5: 0100007F:1F91 0100007F:1F90 01 ${rest}`,
].join('\n');
const tcp6 = [
  `   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A ${rest}`,
  `   1: 00000000000000000000000001000000:0BB9 00000000000000000000000000000000:0000 0A ${rest}`,
  `   2: 0000000000000000FFFF00000100007F:0BBA 00000000000000000000000000000000:0000 0A ${rest}`,
].join('\n');

test('listening ports are those on loopback, the wildcard and the own address, without the resolver and the capture', (t) => {
  t.deepEqual(
    [...parseListeningPorts(tcp, tcp6)],
    [
      [8080, ['127.0.0.1']],
      [80, ['127.0.0.1']],
      [81, ['198.18.0.2']],
      [3000, ['127.0.0.1', '::1']],
      [3001, ['::1']],
      [3002, ['127.0.0.1']],
    ],
  );
});

test('name lookups use files and DNS only, whatever else the machine uses', (t) => {
  t.is(nameServiceSwitch(''), 'hosts: files dns\n');
  t.is(
    nameServiceSwitch('passwd: files systemd\nhosts: files mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns myhostname\n'),
    'passwd: files systemd\nhosts: files myhostname dns\n',
  );
});

test('a default route for IPv6 counts unless it rejects or is for lo', (t) => {
  const zeros = '0'.repeat(32);
  const line = (flags: string, device: string): string => `${zeros} 00 ${zeros} 00 ${zeros} 00000400 00000001 00000000 ${flags} ${device}`;
  t.true(hasIpv6DefaultRoute(line('00000003', '    eth0')));
  t.false(hasIpv6DefaultRoute(line('00200200', '      lo')));
  t.false(hasIpv6DefaultRoute(line('00000203', '    eth0')));
  t.false(hasIpv6DefaultRoute(''));
});

test('without IPv6 nothing of it is routed or captured', (t) => {
  t.false(interfaceBatch({ ipv6: false }).includes('::'));
  t.false(captureRules({ ipv6: false }).includes('tproxy ip6'));
  t.true(captureRules({ ipv6: true }).includes('tproxy ip6'));
});
