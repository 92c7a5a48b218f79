import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { nodeAddress, Pod, podAddress } from './pod.ts';

const listener = fileURLToPath(new URL('listener.ts', import.meta.url));

test('a dual-stack listener knows the original destination of IPv6 and of IPv4 flows', async (t) => {
  await using pod = await Pod.bare();
  const rules = `table inet test { chain pre { type nat hook prerouting priority dstnat; iifname "lo" return; meta l4proto tcp redirect to :15306; }; }`;
  await pod.namespace.run('nft', ['-f', '-'], { input: rules });
  const child = pod.namespace.spawn(process.execPath, [listener, '::', '15306'], { stdio: ['ignore', 'pipe', 'inherit'] });
  if (child.stdout === null) throw new Error('no stdout');
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  t.is((await lines.next()).value, 'ready');
  const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value ?? '');

  (await pod.node.connect({ host: 'fd77::2', port: 8080 })).resume();
  t.deepEqual(await next(), { source: 'fd77::1', destination: { address: 'fd77::2', port: 8080 } });
  (await pod.node.connect({ host: podAddress, port: 8081 })).resume();
  t.deepEqual(await next(), { source: nodeAddress, destination: { address: podAddress, port: 8081 } });
});
