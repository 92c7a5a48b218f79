import test from 'ava';
import { proxyFromEnvironment } from '../../../src/cluster/proxy-environment.ts';

const proxyOf = (server: string, env: Record<string, string>): string | undefined => proxyFromEnvironment(new URL(server), env);

test('the proxy is chosen by the scheme of the server, and never for loopback', (t) => {
  const env = { HTTPS_PROXY: 'http://secure', http_proxy: 'plain:3128' };
  t.is(proxyOf('https://api:6443', env), 'http://secure');
  t.is(proxyOf('http://api', env), 'http://plain:3128');
  t.is(proxyOf('https://127.0.0.2:6443', env), undefined);
  t.is(proxyOf('https://[::1]:6443', env), undefined);
  t.is(proxyOf('https://localhost', env), undefined);
  t.is(proxyOf('https://api', {}), undefined);
});

test('NO_PROXY excludes names with what is below them, addresses, networks, ports, and everything', (t) => {
  const excluded = (noProxy: string, server: string): boolean =>
    proxyOf(server, { HTTPS_PROXY: 'http://p', NO_PROXY: noProxy }) === undefined;
  t.true(excluded('a, example.com', 'https://example.com'));
  t.true(excluded('example.com', 'https://api.example.com'));
  t.false(excluded('example.com', 'https://badexample.com'));
  t.false(excluded('.example.com', 'https://example.com'));
  t.true(excluded('.example.com', 'https://api.example.com'));
  t.true(excluded('10.0.0.0/8', 'https://10.1.2.3:6443'));
  t.false(excluded('10.0.0.0/8', 'https://11.1.2.3'));
  t.true(excluded('fd00::/8', 'https://[fd00::1]:6443'));
  t.true(excluded('api:6443', 'https://api:6443'));
  t.false(excluded('api:6443', 'https://api'));
  t.true(excluded('*', 'https://api'));
});
