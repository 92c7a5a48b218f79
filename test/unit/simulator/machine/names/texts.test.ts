import test from 'ava';
import { reverseZones, routedDomains } from '../../../../../src/simulator/machine/names/domains.ts';
import { ownOfConnections } from '../../../../../src/simulator/machine/names/network-manager.ts';
import { ownNames } from '../../../../../src/simulator/machine/names/own-servers.ts';
import { formatResolvConf, ourHeader, parseResolvConf, withoutOurs } from '../../../../../src/simulator/machine/names/resolv-conf-text.ts';

const ours = { nameservers: ['127.0.0.56'], search: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'], ndots: 5 };

test('resolv.conf is read as libc reads it', (t) => {
  const text =
    '; old\n#nameserver 9.9.9.9\nnameserver 192.168.1.1 # router\nnameserver fe80::1%eth0\nnameserver router\ndomain old.example\nsearch lan. corp.example\noptions ndots:2 rotate\noptions edns0\nsortlist 10.0.0.0/8\n';
  t.deepEqual(parseResolvConf(text), {
    nameservers: ['192.168.1.1', 'fe80::1%eth0'],
    search: ['lan', 'corp.example'],
    options: ['ndots:2', 'rotate', 'edns0'],
    others: ['sortlist 10.0.0.0/8'],
  });
  t.deepEqual(parseResolvConf('search .\n').search, []);
});

test("our resolv.conf keeps the machine's search domains, options and lines; taking ours out gives the machine's again", (t) => {
  const text = formatResolvConf(ours, parseResolvConf('nameserver 192.168.1.1\nsearch lan\noptions ndots:2 edns0\nsortlist 10.0.0.0/8\n'));
  t.is(
    text,
    `${ourHeader}\nnameserver 127.0.0.56\nsearch shop.svc.cluster.local svc.cluster.local cluster.local lan\noptions ndots:5 edns0\nsortlist 10.0.0.0/8\n`,
  );
  t.is(withoutOurs(`${text}nameserver 1.1.1.1\n`, ours), 'search lan\noptions edns0\nsortlist 10.0.0.0/8\nnameserver 1.1.1.1\n');
  t.is(withoutOurs('nameserver 1.1.1.1\noptions ndots:5\n', ours), undefined);
});

test("our own server is never the machine's; a machine without any asks itself", (t) => {
  t.deepEqual(ownNames('nameserver 127.0.0.56\nnameserver 1.1.1.1\nsearch cluster.local lan\n', ['127.0.0.56'], ours.search), {
    servers: [{ address: '1.1.1.1', port: 53 }],
    search: ['lan'],
  });
  t.deepEqual(ownNames('', ['127.0.0.56'], []).servers, [{ address: '127.0.0.1', port: 53 }]);
  t.deepEqual(ownNames('nameserver 127.0.0.56\n', ['127.0.0.56'], []).servers, []);
});

test('reverse zones: whole labels, several where a network is cut between them, one wider zone where they would be many', (t) => {
  t.deepEqual(reverseZones('10.96.0.0/16'), ['96.10.in-addr.arpa']);
  t.deepEqual(reverseZones('10.96.0.0/14'), ['96.10.in-addr.arpa', '97.10.in-addr.arpa', '98.10.in-addr.arpa', '99.10.in-addr.arpa']);
  t.is(reverseZones('10.96.0.0/12').length, 16);
  t.deepEqual(reverseZones('10.0.0.0/9'), ['10.in-addr.arpa']);
  t.deepEqual(reverseZones('10.244.1.7'), ['7.1.244.10.in-addr.arpa']);
  t.deepEqual(
    reverseZones('fd00:10:96::/112').map((zone) => zone.length),
    [64],
  );
  t.deepEqual(reverseZones('fd00::/15'), ['0.0.d.f.ip6.arpa', '1.0.d.f.ip6.arpa']);
  t.deepEqual(reverseZones('0.0.0.0/0'), []);
  t.deepEqual(reverseZones('nonsense'), []);
});

test("routing domains: the cluster's, svc, reverse zones, then namespaces, ours first, as many as a resolver takes", (t) => {
  const plan = { domain: 'cluster.local', search: ours.search, namespaces: ['post', 'shop'], networks: ['10.96.0.0/16'] };
  t.deepEqual(routedDomains(plan), { search: ours.search, routes: ['svc', '96.10.in-addr.arpa', 'shop', 'post'], left: 0 });
  const many = routedDomains({ ...plan, namespaces: Array.from({ length: 300 }, (_, index) => `n${index}`) });
  t.is(many.search.length + many.routes.length, 200);
  t.is(many.left, 300 - 195);
});

test("NetworkManager's configuration: ours is left out, an exclusive connection wins, routing domains are no search domains", (t) => {
  const entry = (device: string, priority: number, nameservers: string[], domains: string[]) => ({
    nameservers: { type: 'as', data: nameservers },
    domains: { type: 'as', data: domains },
    interface: { type: 's', data: device },
    priority: { type: 'i', data: priority },
  });
  const wifi = entry('wlan0', 100, ['192.168.1.1', 'dns+tls://1.1.1.1#one.one.one.one'], ['lan', '~corp.example']);
  t.deepEqual(ownOfConnections([entry('kpctl-nm', -1200, ['127.0.0.56'], ['cluster.local']), wifi]), {
    servers: [
      { address: '192.168.1.1', port: 53 },
      { address: '1.1.1.1', port: 53 },
    ],
    search: ['lan'],
  });
  t.deepEqual(ownOfConnections([entry('tun0', -50, ['10.8.0.1'], ['corp.example']), wifi])?.servers, [{ address: '10.8.0.1', port: 53 }]);
  t.is(ownOfConnections(undefined), undefined);
  t.deepEqual(ownOfConnections([]), { servers: [], search: [] });
});
