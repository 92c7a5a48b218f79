import test from 'ava';
import { liveTable, type LiveRule } from '../../../src/interceptor/live-rules.ts';

const inbound: LiveRule = { kind: 'inbound', protocol: 'tcp', port: 80, listener: 15_500 };
const udp: LiveRule = { kind: 'inbound', protocol: 'udp', port: 53, listener: 15_501 };
const outbound: LiveRule = { kind: 'outbound', address: 'fd00::1', port: 5432 };

test('a rule for inbound TCP is one chain, and nothing that makes the kernel track connections', (t) => {
  const table = liveTable([inbound], { mark: undefined, ipv6: false, translation: false });
  t.deepEqual(table, [
    'table inet kpeering_live { flags owner; }',
    'delete table inet kpeering_live',
    'table inet kpeering_live { flags owner; }',
    'add chain inet kpeering_live inbound { type filter hook prerouting priority mangle; policy accept; }',
    'add rule inet kpeering_live inbound iifname "lo" return',
    'add rule inet kpeering_live inbound meta nfproto ipv4 tcp dport 80 tproxy ip to :15500 accept',
  ]);
  t.false(/nat|ct /u.test(table.join('\n')));
});

test('both families, datagrams with their answers, and calls by group or mark', (t) => {
  const text = liveTable([inbound, udp, outbound], { mark: undefined, ipv6: true, translation: true }).join('\n');
  for (const rule of [
    'inbound meta nfproto ipv6 tcp dport 80 tproxy ip6 to :15500 accept',
    'inbound meta nfproto ipv6 udp dport 53 tproxy ip6 to :15501 accept',
    'answers udp sport 15501 udp sport set 53',
    'outbound meta skgid 15300 return',
    'outbound ip6 daddr fd00::1 tcp dport 5432 tcp flags & (fin|syn|rst|ack) == syn redirect to :15301',
  ]) {
    t.true(text.includes(`add rule inet kpeering_live ${rule}`), rule);
  }
  t.true(liveTable([outbound], { mark: 7, ipv6: true, translation: true }).join('\n').includes('outbound meta mark 7 return'));
});

test('translation outlives its last rule, with one that has the kernel track connections', (t) => {
  const table = liveTable([], { mark: undefined, ipv6: true, translation: true });
  t.true(table.includes('add rule inet kpeering_live outbound ct state != new return'));
  t.false(table.join('\n').includes('redirect'));
});
