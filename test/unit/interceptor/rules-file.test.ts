import test from 'ava';
import { assumedRules, capturedPort, capturesOutbound, matchesEntry, parseRules, type Rules } from '../../../src/interceptor/rules-file.ts';

const rules: Rules = {
  version: 1,
  mode: 'tproxy',
  reason: 'asked for',
  backend: 'nft',
  tcp: { '8000-8080': 15_500, '80': 15_501, '8010': 15_502 },
  udp: { '53': 15_500 },
  except: ['8005', '15310'],
  outbound: ['5432', '6000-6010'],
  exceptOutbound: ['6005'],
  networks: ['10.0.0.0/8', '192.0.2.7', 'fd00::/8'],
  exceptNetworks: ['10.1.0.0/16', 'fd00::1'],
  dns: false,
  keepSource: true,
  families: ['ipv4', 'ipv6'],
  aliases: { '15400': 8080 },
};

test('what redirect.sh writes is read as it is, and members of later versions are ignored', (t) => {
  t.deepEqual(parseRules(JSON.stringify({ ...rules, later: [1] })), rules);
  t.deepEqual(parseRules(JSON.stringify(assumedRules(15_306, 'x'))), assumedRules(15_306, 'x'));
});

for (const [what, text, message] of [
  ['no JSON', 'mode=tproxy', /JSON/u],
  ['no object', '[]', /no object/u],
  ['another version', JSON.stringify({ ...rules, version: 2 }), /version 2/u],
  ['an unknown mode', JSON.stringify({ ...rules, mode: 'magic' }), /"magic"/u],
  ['an entry that is no port', JSON.stringify({ ...rules, tcp: { http: 15_500 } }), /"tcp" has "http"/u],
  ['a listener that is no port', JSON.stringify({ ...rules, tcp: { '80': '15500' } }), /"80": "15500"/u],
  ['a range that ends before it begins', JSON.stringify({ ...rules, except: ['90-80'] }), /"except" has "90-80"/u],
  ['a network that is none', JSON.stringify({ ...rules, networks: ['10.0.0.0/33'] }), /"networks" has "10\.0\.0\.0\/33"/u],
  ['no list', JSON.stringify({ ...rules, outbound: '*' }), /"outbound" is no list/u],
  ['a missing member', JSON.stringify({ ...rules, dns: undefined }), /"dns"/u],
] as const) {
  test(`a file with ${what} is refused`, (t) => {
    t.throws(() => parseRules(text), { message });
  });
}

test('entries: a port, a range with both ends, all', (t) => {
  t.true(matchesEntry('80', 80));
  t.false(matchesEntry('80', 8080));
  t.true(matchesEntry('80-90', 80) && matchesEntry('80-90', 90));
  t.false(matchesEntry('80-90', 91));
  t.true(matchesEntry('*', 1));
});

test('a port is captured by the first rule that matches, and not when it is excluded', (t) => {
  t.deepEqual(capturedPort(rules, 'tcp', 80), { entry: '80', listener: 15_501 });
  t.deepEqual(capturedPort(rules, 'tcp', 8010), { entry: '8000-8080', listener: 15_500 });
  t.deepEqual(capturedPort(rules, 'udp', 53), { entry: '53', listener: 15_500 });
  for (const port of [8005, 443, 15_310]) t.is(capturedPort(rules, 'tcp', port), undefined);
  t.is(capturedPort(rules, 'udp', 80), undefined);
});

test('outbound calls are captured by port and network, as far as nothing leaves them out', (t) => {
  const captured = (endpoints: readonly string[], given = rules): boolean[] =>
    endpoints.map((endpoint) => {
      const [address = '', port] = endpoint.split(' ');
      return capturesOutbound(given, { address, port: Number(port) });
    });
  const all = (count: number, what: boolean): boolean[] => Array.from({ length: count }, () => what);
  t.deepEqual(captured(['10.0.0.1 5432', '192.0.2.7 6010', 'fd12::3 6000']), all(3, true));
  t.deepEqual(
    captured(['10.0.0.1 80', '10.0.0.1 6005', '10.1.2.3 5432', '192.0.2.8 5432', 'fd00::1 5432', '2001:db8::1 5432']),
    all(6, false),
  );
  const every: Rules = { ...rules, outbound: ['*'], exceptOutbound: [], networks: [], exceptNetworks: [] };
  t.deepEqual(captured(['192.0.2.8 1', '2001:db8::1 53'], every), all(2, true));
  t.deepEqual(captured(['192.0.2.8 53', '2001:db8::1 53'], { ...every, dns: true }), all(2, false));
  t.deepEqual(captured(['192.0.2.8 1', '2001:db8::1 1'], { ...every, networks: ['::/0'] }), [false, true]);
  t.deepEqual(captured(['192.0.2.8 1', '2001:db8::1 1'], { ...every, networks: ['0.0.0.0/0'] }), [true, false]);
});

test('a file of before exclusions were told has none', (t) => {
  const { exceptOutbound: _, networks: __, exceptNetworks: ___, ...before } = rules;
  t.like(parseRules(JSON.stringify(before)), { exceptOutbound: [], networks: [], exceptNetworks: [] });
});
