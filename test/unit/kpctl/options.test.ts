import test from 'ava';
import { InvalidArgumentError } from 'commander';
import { outputFormat, parseOutboundMapping, parsePortMapping } from '../../../src/kpctl/options.ts';

const none = undefined;

test('[LOCAL:]REMOTE as kubectl port-forward orders it', (t) => {
  t.deepEqual(parsePortMapping('80'), [{ local: none, remote: '80', protocol: none }]);
  t.deepEqual(parsePortMapping('3000:80'), [{ local: 3000, remote: '80', protocol: none }]);
  t.deepEqual(parsePortMapping('3000:http'), [{ local: 3000, remote: 'http', protocol: none }]);
  t.deepEqual(parsePortMapping('http-alt'), [{ local: none, remote: 'http-alt', protocol: none }]);
  t.deepEqual(parsePortMapping('1:65535'), [{ local: 1, remote: '65535', protocol: none }]);
});

test('the protocol follows REMOTE', (t) => {
  t.deepEqual(parsePortMapping('53/udp'), [{ local: none, remote: '53', protocol: 'udp' }]);
  t.deepEqual(parsePortMapping('5353:53/udp'), [{ local: 5353, remote: '53', protocol: 'udp' }]);
  t.deepEqual(parsePortMapping('5353:dns/tcp'), [{ local: 5353, remote: 'dns', protocol: 'tcp' }]);
});

test('a repeated --port is collected in order', (t) => {
  const first = parsePortMapping('3000:80');
  t.deepEqual(parsePortMapping('9090', first), [...first, { local: none, remote: '9090', protocol: none }]);
  t.is(first.length, 1);
});

for (const wrong of [
  '',
  ':',
  '80:',
  '0',
  '0:80',
  '65536',
  '70000:80',
  '-1',
  '1:2:3',
  'x:80',
  'h ttp',
  '-http',
  'a'.repeat(64),
  '٣',
  '80/',
  '/udp',
  '80/sctp',
  '80/udp/tcp',
  '80/UDP',
]) {
  test(`${JSON.stringify(wrong)} is no port mapping`, (t) => {
    t.throws(() => parsePortMapping(wrong), { instanceOf: InvalidArgumentError });
  });
}

test('[LOCAL:]HOST:PORT: a Service or an address of either family, a port by number or name', (t) => {
  t.deepEqual(parseOutboundMapping('db:5432'), [{ local: none, host: 'db', port: '5432' }]);
  t.deepEqual(parseOutboundMapping('3000:db.shop:postgres'), [{ local: 3000, host: 'db.shop', port: 'postgres' }]);
  t.deepEqual(parseOutboundMapping(':db.shop.svc.cluster.local:80'), [{ local: none, host: 'db.shop.svc.cluster.local', port: '80' }]);
  t.deepEqual(parseOutboundMapping('10.0.0.7:80'), [{ local: none, host: '10.0.0.7', port: '80' }]);
  t.deepEqual(parseOutboundMapping('3000:[fd00::7]:80'), [{ local: 3000, host: 'fd00::7', port: '80' }]);
  const first = parseOutboundMapping('db:80');
  t.deepEqual(parseOutboundMapping('cache:81', first), [...first, { local: none, host: 'cache', port: '81' }]);
});

const wrongOutbound = [
  '',
  'db',
  '80',
  ':80',
  'db:',
  'db:0',
  'x:db:80',
  '0:db:80',
  '1:2:3:4',
  'fd00::7:80',
  '[db]:80',
  '[fd00::7]',
  'a_b:80',
  'db:h ttp',
  '10.0.0:80',
  'a.b.c:80',
  'http://db:80',
  '-db:80',
];
for (const wrong of wrongOutbound) {
  test(`${JSON.stringify(wrong)} is no outbound mapping`, (t) => {
    t.throws(() => parseOutboundMapping(wrong), { instanceOf: InvalidArgumentError });
  });
}

test('-o is text unless it is json or yaml', (t) => {
  t.is(outputFormat({}), 'text');
  t.is(outputFormat({ output: 'json' }), 'json');
  t.is(outputFormat({ output: 'yaml' }), 'yaml');
});
