import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';

/**
 * Makes an endpoint in a process that notes what it loads, and a laptop that writes its first byte before the session's code is there.
 * Prints what had been loaded of zod while the endpoint was idle, and then.
 */
const program = `
  import { registerHooks } from 'node:module';
  import { connect } from 'node:net';
  let loaded = 0;
  registerHooks({ load: (url, context, next) => ((loaded += /node_modules.zod/.test(url) ? 1 : 0), next(url, context)) });
  const { TunnelEndpoint } = await import('./src/kpeering/endpoint.ts');
  const { silentLogger } = await import('./src/platform/log.ts');
  const hello = { role: 'sidecar', software: '1', name: 'pod' };
  const endpoint = await TunnelEndpoint.listen({ port: 0, hello, answer: () => null, ownPorts: () => [], log: silentLogger });
  const idle = loaded;
  const socket = connect(endpoint.port, '127.0.0.1');
  const json = JSON.stringify({ session: 'a'.repeat(32), role: 'laptop', software: '1', name: 'x', window: 1000, features: [] });
  socket.write(Buffer.concat([Buffer.from('KPEERING'), Buffer.from([1, 1, 0, json.length]), Buffer.from(json)]));
  const answer = await new Promise((resolve) => socket.once('data', resolve));
  console.log(JSON.stringify({ idle, busy: loaded > 0, answer: answer.toString('latin1', 0, 8) }));
  socket.destroy();
  await endpoint.close();
`;

test('an idle endpoint has not loaded zod; the first connection loses no bytes by that', async (t) => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { cwd: new URL('../../../', import.meta.url) });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  await once(child, 'close');
  t.is(stderr, '');
  t.deepEqual(JSON.parse(stdout), { idle: 0, busy: true, answer: 'KPEERING' });
});
