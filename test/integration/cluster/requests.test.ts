import { createServer, connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { TLSSocket } from 'node:tls';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { configMaps, pods } from '../../../src/cluster/resources.ts';
import { clusterOf, emptyList, json, listen, startApi, temporaryFolder } from './api.ts';
import { base64, makeCertificates } from './certificates.ts';

const certificates = makeCertificates();
const tls = { ...certificates.server };
const ca = { 'certificate-authority-data': base64(certificates.ca) };

const failsWith = async (t: ExecutionContext, code: string, message: RegExp, work: Promise<unknown>): Promise<void> => {
  const error = await t.throwsAsync(work);
  t.is(Reflect.get(error, 'code'), code, error.message);
  t.regex(error.message, message);
};

test('a client certificate from data authenticates', async (t) => {
  const api = await startApi(
    t,
    (request, response) => {
      const peer = request.socket instanceof TLSSocket ? request.socket.getPeerCertificate().subject.CN : undefined;
      json(response, { ...emptyList, items: [{ metadata: { name: peer } }] });
    },
    { ...tls, ca: certificates.ca, requestCert: true, rejectUnauthorized: true },
  );
  const cluster = await clusterOf(
    t,
    { server: api.url, ...ca },
    { 'client-certificate-data': base64(certificates.client.cert), 'client-key-data': base64(certificates.client.key) },
  );
  t.is((await cluster.list(configMaps))[0]?.metadata.name, 'alice');
});

test('an authority and a token in files; the token is read again after a 401', async (t) => {
  const folder = temporaryFolder(t);
  const token = join(folder, 'token');
  writeFileSync(token, 'one\n');
  const seen: (string | undefined)[] = [];
  let accepted = 'Bearer one';
  const api = await startApi(
    t,
    (request, response) => {
      seen.push(request.headers.authorization);
      json(response, emptyList, request.headers.authorization === accepted ? 200 : 401);
    },
    tls,
  );
  writeFileSync(join(folder, 'ca.crt'), certificates.ca);
  const cluster = await clusterOf(t, { server: api.url, 'certificate-authority': join(folder, 'ca.crt') }, { tokenFile: token });
  await cluster.list(configMaps);
  writeFileSync(token, 'two');
  await cluster.list(configMaps);
  accepted = 'Bearer two';
  await cluster.list(configMaps);
  t.deepEqual(seen, ['Bearer one', 'Bearer one', 'Bearer one', 'Bearer two']);
});

test('a user name and a password are sent as Basic', async (t) => {
  const api = await startApi(t, (request, response) =>
    json(response, { ...emptyList, items: [{ metadata: { name: request.headers.authorization } }] }),
  );
  const cluster = await clusterOf(t, { server: api.url }, { username: 'a', password: 'b:c' });
  t.is((await cluster.list(configMaps))[0]?.metadata.name, `Basic ${base64('a:b:c')}`);
});

test("a pod's port is asked through the API server: the text, or the server's words", async (t) => {
  const urls: (string | undefined)[] = [];
  const api = await startApi(t, (request, response) => {
    urls.push(request.url);
    if (request.url?.includes('web-1') === true) response.end('token\n');
    else
      json(
        response,
        { kind: 'Status', message: 'error trying to reach service: dial tcp 10.1.1.1:15307: connect: connection refused' },
        503,
      );
  });
  const cluster = await clusterOf(t, { server: api.url }, { token: 'x' });
  t.is(await cluster.getFromPod({ namespace: 'shop', pod: 'web-1', port: 15307 }, '/'), 'token\n');
  t.is(decodeURIComponent(urls[0] ?? ''), '/api/v1/namespaces/shop/pods/web-1:15307/proxy/');
  await failsWith(
    t,
    'API_ERROR',
    /503 to get pods\/proxy "web-2" in namespace shop: .*connection refused$/,
    cluster.getFromPod({ namespace: 'shop', pod: 'web-2', port: 15307 }, '/'),
  );
});

test('a server without TLS, with a path before the API, is asked below that path', async (t) => {
  const urls: (string | undefined)[] = [];
  const api = await startApi(t, (request, response) => {
    urls.push(request.url);
    json(response, emptyList);
  });
  const cluster = await clusterOf(t, { server: `${api.url}/k8s/clusters/c-1/` }, { token: 'x' });
  await cluster.list(pods, { namespace: 'shop', labelSelector: 'app=web' });
  t.deepEqual(urls, ['/k8s/clusters/c-1/api/v1/namespaces/shop/pods?limit=500&labelSelector=app%3Dweb']);
});

test('tls-server-name is what the certificate is checked against', async (t) => {
  const names: unknown[] = [];
  const api = await startApi(
    t,
    (request, response) => {
      names.push(Reflect.get(request.socket, 'servername'));
      json(response, emptyList);
    },
    { ...certificates.otherName },
  );
  const cluster = await clusterOf(t, { server: api.url, ...ca, 'tls-server-name': 'other.test' });
  await cluster.list(pods);
  t.deepEqual(names, ['other.test']);
  await failsWith(t, 'API_TLS', /127\.0\.0\.1/, (await clusterOf(t, { server: api.url, ...ca })).list(pods));
});

test('a certificate of an unknown authority is refused, unless insecure-skip-tls-verify says so', async (t) => {
  const api = await startApi(t, (_request, response) => json(response, emptyList), tls);
  await failsWith(t, 'API_TLS', /TLS/, (await clusterOf(t, { server: api.url })).list(pods));
  const insecure = await clusterOf(t, { server: api.url, 'insecure-skip-tls-verify': true });
  t.deepEqual(await insecure.list(pods), []);
});

test('impersonation sends the user, each group, the uid and extra fields; the option wins over the user', async (t) => {
  const seen: string[][] = [];
  const api = await startApi(t, (request, response) => {
    const raw = request.rawHeaders;
    seen.push(raw.flatMap((name, index) => (index % 2 === 0 && name.startsWith('Impersonate') ? [`${name}: ${raw[index + 1]}`] : [])));
    json(response, emptyList);
  });
  const user = { as: 'bob', 'as-groups': ['dev', 'ops'], 'as-uid': '7', 'as-user-extra': { 'example.com/team': ['x', 'y'] } };
  await (await clusterOf(t, { server: api.url }, user)).list(pods);
  await (await clusterOf(t, { server: api.url }, user, { as: 'eve', asGroups: ['g'] })).list(pods);
  t.deepEqual(seen[0], [
    'Impersonate-User: bob',
    'Impersonate-Group: dev',
    'Impersonate-Group: ops',
    'Impersonate-Uid: 7',
    'Impersonate-Extra-example.com%2Fteam: x',
    'Impersonate-Extra-example.com%2Fteam: y',
  ]);
  t.deepEqual(seen[1]?.slice(0, 2), ['Impersonate-User: eve', 'Impersonate-Group: g']);
});

/** A plugin that counts its runs in a file and answers with the count as its token. */
function plugin(t: ExecutionContext, expires: string): { command: string; runs: () => number; info: () => unknown } {
  const folder = temporaryFolder(t);
  const command = join(folder, 'plugin.sh');
  writeFileSync(
    command,
    `#!/bin/sh
cd "$(dirname "$0")"
echo run >> runs
printf %s "$KUBERNETES_EXEC_INFO" > info
n=$(wc -l < runs)
echo "{\\"kind\\":\\"ExecCredential\\",\\"apiVersion\\":\\"client.authentication.k8s.io/v1\\",\\"status\\":{\\"token\\":\\"$PREFIX$n\\",\\"expirationTimestamp\\":\\"${expires}\\"}}"
`,
  );
  chmodSync(command, 0o755);
  return {
    command,
    runs: () => readFileSync(join(folder, 'runs'), 'utf8').split('\n').length - 1,
    info: () => JSON.parse(readFileSync(join(folder, 'info'), 'utf8')) as unknown,
  };
}

const execOf = (command: string): object => ({
  exec: {
    apiVersion: 'client.authentication.k8s.io/v1',
    command,
    env: [{ name: 'PREFIX', value: 't' }],
    interactiveMode: 'Never',
    provideClusterInfo: true,
  },
});

test('an exec plugin is run once for many requests, and again after a 401', async (t) => {
  const { command, runs, info } = plugin(t, '2099-01-01T00:00:00Z');
  let accepted = 'Bearer t1';
  const api = await startApi(t, (request, response) => json(response, emptyList, request.headers.authorization === accepted ? 200 : 401));
  const cluster = await clusterOf(t, { server: api.url }, execOf(command));
  await Promise.all([cluster.list(pods), cluster.list(configMaps), cluster.list(pods)]);
  t.is(runs(), 1);
  accepted = 'Bearer t2';
  await cluster.list(pods);
  t.is(runs(), 2);
  t.like(info(), { apiVersion: 'client.authentication.k8s.io/v1', spec: { interactive: false, cluster: { server: api.url } } });
  accepted = 'nothing';
  await failsWith(t, 'API_UNAUTHORIZED', /401/, cluster.list(pods));
});

test('an exec plugin is run again when its credential has expired', async (t) => {
  const { command, runs } = plugin(t, '2020-01-01T00:00:00Z');
  const api = await startApi(t, (_request, response) => json(response, emptyList));
  const cluster = await clusterOf(t, { server: api.url }, execOf(command));
  await cluster.list(pods);
  await cluster.list(pods);
  t.is(runs(), 2);
});

test('an exec plugin that fails, or is not there, is named', async (t) => {
  const missing = await clusterOf(t, { server: 'http://127.0.0.1:1' }, execOf('kpeering-no-such-plugin'));
  await failsWith(t, 'EXEC_PLUGIN_FAILED', /kpeering-no-such-plugin.*no such program/, missing.list(pods));
  const failing = await clusterOf(t, { server: 'http://127.0.0.1:1' }, execOf('/bin/false'));
  await failsWith(t, 'EXEC_PLUGIN_FAILED', /ended with code 1/, failing.list(pods));
});

test('answers become Failures that say what was refused', async (t) => {
  let answer = { status: 401, body: {} };
  const api = await startApi(t, (_request, response) => json(response, answer.body, answer.status));
  const cluster = await clusterOf(t, { server: api.url }, { token: 'x' });
  await failsWith(t, 'API_UNAUTHORIZED', /401/, cluster.list(pods));
  const message = 'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "shop"';
  answer = { status: 403, body: { kind: 'Status', message } };
  await failsWith(t, 'API_FORBIDDEN', /User "x" cannot list resource "pods"/, cluster.list(pods, { namespace: 'shop' }));
  answer = { status: 404, body: { kind: 'Status', message: 'pods "web" not found' } };
  await failsWith(t, 'NOT_FOUND', /pods "web" not found/, cluster.get(pods, 'web'));
  answer = { status: 500, body: { kind: 'Status', message: 'etcd is gone' } };
  await failsWith(t, 'API_ERROR', /500 to list pods in namespace shop: etcd is gone/, cluster.list(pods, { namespace: 'shop' }));
});

test('a server that is not there is named', async (t) => {
  const closed = createServer();
  const port = await new Promise<number>((resolve) => {
    closed.listen(0, '127.0.0.1', () => {
      const address = closed.address();
      closed.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
  const cluster = await clusterOf(t, { server: `https://127.0.0.1:${port}`, ...ca });
  await failsWith(t, 'API_UNREACHABLE', new RegExp(`https://127.0.0.1:${port} cannot be reached`), cluster.list(pods));
});

test('a kept connection that the server closed under us costs no failure', async (t) => {
  const api = await startApi(t, (_request, response) => json(response, emptyList), tls);
  const cluster = await clusterOf(t, { server: api.url, ...ca });
  await cluster.list(pods);
  t.is(api.connections.length, 1);
  await cluster.list(pods);
  t.is(api.connections.length, 1, 'it is kept');
  // Closed in the moment in which the request is on its way: only the answer shows it.
  api.server.removeAllListeners('request');
  let resets = 0;
  api.server.on('request', (request, response) => {
    if (request.socket === api.connections[0]) {
      resets++;
      request.socket.destroy();
    } else json(response, emptyList);
  });
  t.deepEqual(await cluster.list(pods), []);
  t.is(resets, 1);
  t.is(api.connections.length, 2);
});

test('a list is read page by page', async (t) => {
  const api = await startApi(t, (request, response) => {
    const next = new URL(request.url ?? '', 'http://x').searchParams.get('continue');
    const page = next === null ? 1 : Number(next);
    json(response, {
      metadata: { resourceVersion: '1', ...(page < 3 && { continue: String(page + 1) }) },
      items: page === 2 ? null : [{ metadata: { name: `p${page}` } }],
    });
  });
  const cluster = await clusterOf(t, { server: api.url });
  t.deepEqual(
    (await cluster.list(configMaps)).map(({ metadata }) => metadata.name),
    ['p1', 'p3'],
  );
});

test('an abort ends a request that waits', async (t) => {
  const api = await startApi(t, () => {});
  const cluster = await clusterOf(t, { server: api.url });
  const controller = new AbortController();
  const asked = once(api.server, 'request');
  const listed = cluster.list(pods, { signal: controller.signal });
  await asked;
  const reason = new Error('enough');
  controller.abort(reason);
  t.is(await t.throwsAsync(listed), reason);
});

/** A proxy of each kind; answers with what it was asked for. */
async function startProxy(t: ExecutionContext, kind: 'http' | 'socks5', refuse = false): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const pipe = (client: Socket, port: number, answer: Buffer | string): void => {
    const upstream = connect(port, '127.0.0.1', () => {
      client.write(answer);
      client.pipe(upstream).pipe(client);
    });
    upstream.on('error', () => client.destroy());
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
  };
  const server = createServer((client) => {
    client.on('error', () => {});
    t.teardown(() => client.destroy());
    const step = kind === 'http' ? [http] : [greeting, login, request];
    const next = (): void => void client.once('data', (data) => step.shift()?.(data));
    function http(data: Buffer): void {
      const text = data.toString();
      asked.push(`${text.split('\r\n')[0]} ${/proxy-authorization: (.*)/i.exec(text)?.[1] ?? '-'}`);
      if (refuse) client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      else pipe(client, Number(/:(\d+) /.exec(text)?.[1]), 'HTTP/1.1 200 OK\r\n\r\n');
    }
    function greeting(): void {
      client.write(Buffer.from([5, 2]));
      next();
    }
    function login(data: Buffer): void {
      asked.push(
        data
          .toString('latin1')
          .slice(1)
          .replaceAll(/[^a-z]/g, ' ')
          .trim(),
      );
      client.write(Buffer.from([1, 0]));
      next();
    }
    function request(data: Buffer): void {
      const length = data[4] ?? 0;
      const host = data[3] === 3 ? data.toString('latin1', 5, 5 + length) : [...data.subarray(4, 8)].join('.');
      asked.push(host);
      pipe(client, data.readUInt16BE(data.length - 2), Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
    }
    next();
  });
  return { port: await listen(t, server), asked };
}

for (const secure of [true, false]) {
  const scheme = secure ? 'https' : 'http';
  test(`proxy-url http:// is asked to connect to an ${scheme} server, with its user`, async (t) => {
    const api = await startApi(t, (_request, response) => json(response, emptyList), secure ? tls : undefined);
    const proxy = await startProxy(t, 'http');
    const cluster = await clusterOf(t, { server: api.url, ...ca, 'proxy-url': `http://me:secret@127.0.0.1:${proxy.port}` });
    t.deepEqual(await cluster.list(pods), []);
    t.deepEqual(proxy.asked, [`CONNECT 127.0.0.1:${api.port} HTTP/1.1 Basic ${base64('me:secret')}`]);
  });

  test(`proxy-url socks5:// carries an ${scheme} server by name`, async (t) => {
    const api = await startApi(t, (_request, response) => json(response, emptyList), secure ? tls : undefined);
    const proxy = await startProxy(t, 'socks5');
    const server = `${scheme}://api.test:${api.port}`;
    const cluster = await clusterOf(t, { server, ...ca, 'proxy-url': `socks5://me:secret@127.0.0.1:${proxy.port}` });
    t.deepEqual(await cluster.list(pods), []);
    t.deepEqual(proxy.asked, ['me secret', 'api.test']);
  });
}

test('a proxy that refuses is said to', async (t) => {
  const proxy = await startProxy(t, 'http', true);
  const cluster = await clusterOf(t, { server: 'https://api.test', 'proxy-url': `http://127.0.0.1:${proxy.port}` });
  await failsWith(t, 'API_UNREACHABLE', /proxy: it answered 403 Forbidden to CONNECT api\.test:443/, cluster.list(pods));
});

test('whoAmI is the API server name of the user, and undefined where it cannot be asked', async (t) => {
  let known = true;
  const api = await startApi(t, (request, response) => {
    if (known && request.method === 'POST') json(response, { status: { userInfo: { username: 'alice' } } }, 201);
    else json(response, { kind: 'Status' }, 404);
  });
  const cluster = await clusterOf(t, { server: api.url });
  t.is(await cluster.whoAmI(), 'alice');
  known = false;
  t.is(await cluster.whoAmI(), undefined);
});

test('a request that is given up while its connection is being made fails at once', async (t) => {
  // Takes connections, and says nothing: no TLS.
  const connected = Promise.withResolvers<void>();
  const silent = createServer((socket) => {
    t.teardown(() => socket.destroy());
    connected.resolve();
  });
  t.teardown(() => silent.close());
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const address = silent.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const cluster = await clusterOf(t, { server: `https://127.0.0.1:${port}`, ...ca }, {});
  const giveUp = new AbortController();
  const listing = cluster.list(configMaps, { signal: giveUp.signal });
  await connected.promise;
  const began = performance.now();
  giveUp.abort(new Error('given up'));
  await t.throwsAsync(listing, { message: 'given up' });
  t.true(performance.now() - began < 2_000, 'a connection may take 10 s to fail');
});
