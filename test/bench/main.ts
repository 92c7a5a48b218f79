/**
 * The benchmarks: `npm run bench [-- NAME… [OPTIONS]]`. Options are those of the benchmark, whose file says them.
 *
 *     tunnel           the tunnel alone, over loopback
 *     memory           1 GiB to a reader that stops for 10 s, over loopback
 *     idle             the memory of a sidecar that has nothing to do, in each mode
 *     dns              kpctl's resolver beside asking its upstream directly (needs dnsmasq: scripts/setup bench)
 *     capture          what capture costs those who call a pod: TPROXY and REDIRECT beside no rules and haproxy (needs scripts/setup bench)
 *     cluster          beside kubectl port-forward, on the cluster of $KUBECONFIG
 *     cluster-memory   1 GiB to a reader that stops for 10 s, through kpctl run and a sidecar of that cluster
 *     webhook          what injection adds to the creation of a pod, on that cluster
 *     run-start        kpctl run -- true, and the parts of every start, on that cluster
 *     start-times      how long `kpctl up` takes to the first answer, and `kpctl run -- true`, on that cluster
 *
 * Without a name: the first four, and the others where $KUBECONFIG is set.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const local = ['tunnel', 'memory', 'idle', 'dns'];
const onRequest = ['capture'];
const onCluster = ['cluster', 'cluster-memory', 'webhook', 'run-start', 'start-times'];
const known = [...local, ...onRequest, ...onCluster];

const words = process.argv.slice(2);
const firstOption = words.findIndex((word) => word.startsWith('-'));
const named = firstOption < 0 ? words : words.slice(0, firstOption);
const options = words.slice(named.length);
const unknown = named.find((name) => !known.includes(name));
if (unknown !== undefined) {
  process.stderr.write(`there is no benchmark "${unknown}"; there are ${known.join(', ')}\n`);
  process.exitCode = 2;
} else {
  const all = process.env['KUBECONFIG'] === undefined ? local : [...local, ...onCluster];
  for (const name of named.length === 0 ? all : named) process.exitCode ||= await run(name);
}

async function run(name: string): Promise<number> {
  process.stdout.write(`# ${name}\n`);
  const child = spawn(process.execPath, [join(import.meta.dirname, `${name}.ts`), ...options], { stdio: 'inherit' });
  await once(child, 'exit');
  return child.exitCode ?? 1;
}
