import test from 'ava';
import { RCODE, TYPE } from '../../../../src/simulator/dns/message.ts';
import { reversedAddress } from '../../../../src/simulator/dns/reverse-names.ts';
import { createZone } from '../../../../src/simulator/dns/zone.ts';
import { shop, show } from './fixtures.ts';

const records = shop();
const zone = createZone({ records, nameserverAddresses: ['10.96.0.10'] });

/** The values were learnt from CoreDNS with the same records, on Kubernetes 1.35. */
const says = test.macro({
  exec(t, name: string, type: keyof typeof TYPE, rcode: keyof typeof RCODE, answers: string[], additionals: string[] = []) {
    const full = name === '' ? 'cluster.local' : `${name}.cluster.local`;
    const answer = zone.answer(full, TYPE[type]);
    t.is(answer.rcode, RCODE[rcode]);
    t.true(answer.authoritative);
    const shorten = (text: string): string => text.replaceAll(/\.cluster\.local(?= |$)/g, '');
    t.deepEqual(answer.answers.map((record) => shorten(show(record))).sort(), answers.toSorted());
    t.deepEqual(answer.additionals.map((record) => shorten(show(record))).sort(), additionals.toSorted());
    // Whatever has no data tells how long that may be remembered (RFC 2308).
    t.deepEqual(answer.authorities.map(show), answers.length === 0 ? ['cluster.local SOA ns.dns.cluster.local'] : []);
    for (const { ttl } of [...answer.answers, ...answer.authorities]) t.is(ttl, 5);
  },
  title: (_, name: string, type: string) => `${name === '' ? 'the apex' : name} ${type}`,
});

test(says, 'web.shop.svc', 'A', 'NOERROR', ['web.shop.svc 10.96.77.1']);
test(says, 'WEB.Shop.SVC', 'A', 'NOERROR', ['WEB.Shop.SVC 10.96.77.1']);
test(says, 'web.shop.svc', 'AAAA', 'NOERROR', []);
test(says, 'web.shop.svc', 'TXT', 'NOERROR', []);
test(says, 'web.shop.svc', 'ANY', 'NOERROR', ['web.shop.svc 10.96.77.1']);
test(says, 'nothing.shop.svc', 'A', 'NXDOMAIN', []);
test(says, 'web.nowhere.svc', 'A', 'NXDOMAIN', []);
test(says, 'example.com.shop.svc', 'A', 'NXDOMAIN', []);
test(says, 'example.com', 'A', 'NXDOMAIN', []);
test(says, 'dual.shop.svc', 'A', 'NOERROR', ['dual.shop.svc 10.96.77.3']);
test(says, 'dual.shop.svc', 'AAAA', 'NOERROR', ['dual.shop.svc fd00:96::7703']);
test(
  says,
  'web.shop.svc',
  'SRV',
  'NOERROR',
  ['web.shop.svc 0 50 80 web.shop.svc', 'web.shop.svc 0 50 53 web.shop.svc'],
  ['web.shop.svc 10.96.77.1'],
);
test(
  says,
  'dual.shop.svc',
  'SRV',
  'NOERROR',
  ['dual.shop.svc 0 25 80 dual.shop.svc', 'dual.shop.svc 0 25 443 dual.shop.svc'],
  ['dual.shop.svc 10.96.77.3', 'dual.shop.svc fd00:96::7703'],
);
test(says, '_http._tcp.web.shop.svc', 'SRV', 'NOERROR', ['_http._tcp.web.shop.svc 0 100 80 web.shop.svc'], ['web.shop.svc 10.96.77.1']);
test(says, '_dns._udp.web.shop.svc', 'SRV', 'NOERROR', ['_dns._udp.web.shop.svc 0 100 53 web.shop.svc'], ['web.shop.svc 10.96.77.1']);
test(says, '_dns._tcp.web.shop.svc', 'SRV', 'NXDOMAIN', []);
test(says, '_tcp.web.shop.svc', 'SRV', 'NXDOMAIN', []);
test(says, '_http._tcp.web.shop.svc', 'A', 'NOERROR', ['_http._tcp.web.shop.svc 10.96.77.1']);
test(says, 'named.web.shop.svc', 'A', 'NOERROR', ['named.web.shop.svc 10.244.9.2']);
test(says, '10-244-9-1.web.shop.svc', 'A', 'NOERROR', ['10-244-9-1.web.shop.svc 10.244.9.1']);
test(says, 'x.y.z.web.shop.svc', 'A', 'NXDOMAIN', []);

test(
  says,
  'headless.shop.svc',
  'A',
  'NOERROR',
  ['10.244.9.1', '10.244.9.3', '10.244.9.4', '10.244.9.5'].map((address) => `headless.shop.svc ${address}`),
);
test(says, 'headless.shop.svc', 'AAAA', 'NOERROR', ['headless.shop.svc fd00:244::901', 'headless.shop.svc fd00:244::902']);
test(
  says,
  '_http._tcp.headless.shop.svc',
  'SRV',
  'NOERROR',
  ['pod-0', 'shared', '10-244-9-5', 'fd00-244--902'].map((host) => `_http._tcp.headless.shop.svc 0 16 8080 ${host}.headless.shop.svc`),
  [
    'pod-0.headless.shop.svc 10.244.9.1',
    'pod-0.headless.shop.svc fd00:244::901',
    'shared.headless.shop.svc 10.244.9.3',
    'shared.headless.shop.svc 10.244.9.4',
    '10-244-9-5.headless.shop.svc 10.244.9.5',
    'fd00-244--902.headless.shop.svc fd00:244::902',
  ],
);
test(says, 'shared.headless.shop.svc', 'A', 'NOERROR', ['shared.headless.shop.svc 10.244.9.3', 'shared.headless.shop.svc 10.244.9.4']);
test(says, 'pod-0.headless.shop.svc', 'AAAA', 'NOERROR', ['pod-0.headless.shop.svc fd00:244::901']);
test(says, 'fd00-244--902.headless.shop.svc', 'AAAA', 'NOERROR', ['fd00-244--902.headless.shop.svc fd00:244::902']);
test(says, '10-244-9-3.headless.shop.svc', 'A', 'NXDOMAIN', []);
test(says, 'gone.headless.shop.svc', 'A', 'NXDOMAIN', []);
test(says, 'empty.shop.svc', 'A', 'NXDOMAIN', []);
test(says, 'unready.shop.svc', 'A', 'NXDOMAIN', []);
test(says, 'publish.shop.svc', 'A', 'NOERROR', ['publish.shop.svc 10.244.9.11']);
test(says, 'noport.shop.svc', 'A', 'NOERROR', ['noport.shop.svc 10.244.9.7']);
test(says, 'noport.shop.svc', 'SRV', 'NOERROR', []);
test(says, '_http._tcp.noport.shop.svc', 'SRV', 'NXDOMAIN', []);

test(says, 'alias.shop.svc', 'A', 'NOERROR', ['alias.shop.svc web.shop.svc', 'web.shop.svc 10.96.77.1']);
test(says, 'alias2.shop.svc', 'A', 'NOERROR', ['alias2.shop.svc alias.shop.svc', 'alias.shop.svc web.shop.svc', 'web.shop.svc 10.96.77.1']);
test(says, 'alias.shop.svc', 'AAAA', 'NOERROR', []);
test(says, 'alias.shop.svc', 'CNAME', 'NOERROR', ['alias.shop.svc web.shop.svc']);
test(says, 'dangling.shop.svc', 'A', 'NOERROR', []);
test(says, 'loop-a.shop.svc', 'A', 'NOERROR', []);
test(says, 'self.shop.svc', 'A', 'NOERROR', []);
test(says, 'number.shop.svc', 'A', 'NXDOMAIN', []);
test(says, 'x.alias.shop.svc', 'A', 'NXDOMAIN', []);

test(says, '1-2-3-4.shop.pod', 'A', 'NOERROR', ['1-2-3-4.shop.pod 1.2.3.4']);
test(says, '1-2-3-4.shop.pod', 'AAAA', 'NOERROR', []);
test(says, '5678-abcd--1.shop.pod', 'AAAA', 'NOERROR', ['5678-abcd--1.shop.pod 5678:abcd::1']);
test(says, '1-2-3-400.shop.pod', 'A', 'NXDOMAIN', []);
test(says, '1-2-3-4.nowhere.pod', 'A', 'NXDOMAIN', []);
test(says, 'x.1-2-3-4.shop.pod', 'A', 'NXDOMAIN', []);

for (const name of ['', 'svc', 'pod', 'shop.svc', 'empty.svc', 'shop.pod', 'dns']) test(says, name, 'A', 'NOERROR', []);
test(says, 'nowhere.svc', 'A', 'NXDOMAIN', []);
test(says, 'foo', 'A', 'NXDOMAIN', []);
test(says, '', 'SOA', 'NOERROR', [' SOA ns.dns'.replace(' ', 'cluster.local ')]);
test(says, '', 'NS', 'NOERROR', ['cluster.local ns.dns'], ['ns.dns 10.96.0.10']);
test(says, 'ns.dns', 'A', 'NOERROR', ['ns.dns 10.96.0.10']);
test(says, 'dns-version', 'TXT', 'NOERROR', ['dns-version 1.1.0']);
test(says, 'dns-version', 'A', 'NOERROR', []);

test('an ExternalName outside the cluster is a CNAME to be followed', (t) => {
  const answer = zone.answer('outside.shop.svc.cluster.local', TYPE.A);
  t.is(answer.chase, 'www.outside.example');
  t.deepEqual(answer.answers.map(show), ['outside.shop.svc.cluster.local www.outside.example']);
});

test('reverse names: the Service, else every endpoint at the address; others are not ours', (t) => {
  const reverse = (name: string): string[] | undefined => zone.reverse(name, TYPE.PTR)?.answers.map(show).sort();
  t.deepEqual(reverse('1.77.96.10.in-addr.arpa'), ['1.77.96.10.in-addr.arpa web.shop.svc.cluster.local']);
  t.deepEqual(reverse('1.9.244.10.IN-ADDR.arpa'), [
    '1.9.244.10.IN-ADDR.arpa 10-244-9-1.web.shop.svc.cluster.local',
    '1.9.244.10.IN-ADDR.arpa pod-0.headless.shop.svc.cluster.local',
  ]);
  const six = '2.0.9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.0.d.f.ip6.arpa';
  t.deepEqual(reverse(six), [`${six} fd00-244--902.headless.shop.svc.cluster.local`]);
  t.is(reverse('6.9.244.10.in-addr.arpa'), undefined, 'not ready');
  t.is(reverse('9.9.244.10.in-addr.arpa'), undefined);
  t.is(reverse('244.10.in-addr.arpa'), undefined);
  t.deepEqual(zone.reverse('1.77.96.10.in-addr.arpa', TYPE.A)?.answers, []);
  t.is(reversedAddress(`${'0.'.repeat(31)}g.ip6.arpa`), undefined);
});

test('records that change change the answers, and the serial', (t) => {
  const index = shop();
  const changing = createZone({ records: index });
  const before = index.generation;
  const ask = (name: string): string[] => changing.answer(`${name}.shop.svc.cluster.local`, TYPE.A).answers.map(show);
  index.deleteSlice('shop', 'headless-4');
  t.deepEqual(ask('headless'), []);
  t.is(changing.reverse('1.9.244.10.in-addr.arpa', TYPE.PTR)?.answers.length, 1);
  index.deleteService('shop', 'web');
  t.deepEqual(ask('web'), []);
  t.is(changing.reverse('1.77.96.10.in-addr.arpa', TYPE.PTR), undefined);
  t.true(index.generation > before);
  t.true(index.hasNamespace('shop'));
});

test('another domain than cluster.local', (t) => {
  const other = createZone({ records, domain: 'Corp.Example.' });
  t.true(other.contains('web.shop.svc.corp.EXAMPLE'));
  t.false(other.contains('web.shop.svc.cluster.local'));
  t.false(other.contains('xcorp.example'));
  t.is(other.answer('web.shop.svc.corp.example', TYPE.A).answers.length, 1);
});
