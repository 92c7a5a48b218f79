import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { start } from '../../../src/kpctl/demo/processes.ts';
import { kpeeringGid, ports } from '../../../src/platform/ports.ts';
import { version } from '../../../src/platform/version.ts';
import { isOwnPort } from '../../../src/kpeering/own-ports.ts';
import { podName } from '../../../src/kpeering/role.ts';
import { portOf } from '../tunnel/pair.ts';

const root = new URL('../../../', import.meta.url);

async function kpeering(...parameters: string[]) {
  const child = spawn(process.execPath, [fileURLToPath(new URL('bin/kpeering.js', root)), ...parameters]);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}

test('version prints the version', async (t) => {
  t.deepEqual(await kpeering('version'), { code: 0, stdout: `${version}\n`, stderr: '' });
});

test('wrong usage is exit 2', async (t) => {
  t.is((await kpeering('sidecar', '--inbound-port', '99999')).code, 2);
  t.is((await kpeering('sidecar', '--drain-seconds', 'soon')).code, 2);
  t.is((await kpeering('nonsense')).code, 2);
});

test('a port that is taken is one line and exit 1', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { code, stderr } = await kpeering('gateway', '--health-host', '127.0.0.1', '--health-port', String(portOf(server)));
  server.close();
  t.is(code, 1);
  t.regex(stderr, /^kpeering: cannot listen on 127\.0\.0\.1:\d+ for health checks \(another program has the port\) \[LISTEN_FAILED\]\n$/u);
});

test('the name comes from the downward API, else from the host', (t) => {
  t.is(podName({ POD_NAMESPACE: 'shop', POD_NAME: 'web-7d9' }), 'shop/web-7d9');
  t.is(podName({ POD_NAME: 'web-7d9' }), 'web-7d9');
  t.not(podName({}), '');
});

test('own ports are ours at the addresses of this machine only', (t) => {
  t.true(isOwnPort({ address: '127.0.0.1', port: 1 }, [1]));
  t.true(isOwnPort({ address: '127.4.4.4', port: 1 }, [1]));
  t.true(isOwnPort({ address: '::1', port: 1 }, [1]));
  t.true(isOwnPort({ address: '::ffff:127.0.0.1', port: 1 }, [1]));
  t.true(isOwnPort({ address: '::ffff:7f00:1', port: 1 }, [1]));
  t.false(isOwnPort({ address: '127.0.0.1', port: 2 }, [1]));
  t.false(isOwnPort({ address: '203.0.113.5', port: 1 }, [1]));
});

test('redirect.sh and docs/ports.md have the ports of src/platform/ports.ts', (t) => {
  const script = readFileSync(new URL('init-container/redirect.sh', root), 'utf8');
  const variables = new Map([...script.matchAll(/^([A-Z_]+)=(\d+)$/gmu)].map(([, name, value]) => [name, Number(value)]));
  // The webhook is in the operator's own pods, where there are no rules.
  const { webhook: _, ...inPods } = ports;
  for (const [name, port] of Object.entries(inPods)) {
    t.is(variables.get(name.replaceAll(/[A-Z]/gu, '_$&').toUpperCase()), port, name);
  }
  t.is(variables.get('GID'), kpeeringGid);
  const document = readFileSync(new URL('docs/ports.md', root), 'utf8');
  const listed = [...document.matchAll(/^\| (\d+) +\| `(\w+)` +\|/gmu)].map(([, port, name]) => [name, Number(port)]);
  t.deepEqual(Object.fromEntries(listed), { ...ports });
  t.true(document.includes(`group is ${kpeeringGid}:`));
});

test('an idle sidecar has loaded no package, nor node:http', async (t) => {
  const hook = `import { registerHooks } from 'node:module';
    registerHooks({ load(url, context, next) { process.stdout.write(url + '\\n'); return next(url, context); } });`;
  const argv = ['sidecar', '--inbound-port', '0', '--tunnel-port', '0', '--health-port', '0', '--health-host', '127.0.0.1'];
  const program = fileURLToPath(new URL('bin/kpeering.js', root));
  await using sidecar = start([process.execPath, '--import', `data:text/javascript,${encodeURIComponent(hook)}`, program, ...argv], {});
  await sidecar.waitForLine(/"msg":"REDIRECT on/u);
  const loaded = sidecar.lines.filter((line) => line.startsWith('file:') || line.startsWith('node:'));
  t.true(loaded.length > 20);
  t.deepEqual(
    loaded.filter((url) => url.includes('/node_modules/') || /^node:(?:http|https|http2|tls|zlib)$/u.test(url)),
    [],
  );
});
