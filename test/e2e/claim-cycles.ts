/**
 * Claims a TCP port of a pod and releases it, again and again, on one tunnel: `claim-cycles.ts NAMESPACE POD PORT LOCAL-PORT CYCLES`. Its
 * connections go to 127.0.0.1:LOCAL-PORT. Prints `first` after the first claim, and at last how many of its flows were taken.
 */
import { connectCluster } from '../../src/cluster/connect.ts';
import { answerDial } from '../../src/forwarder/answer.ts';
import { laptopHello } from '../../src/kpctl/links/identity.ts';
import { PodLink } from '../../src/kpctl/links/pod-link.ts';

const [namespace = '', name = '', port = '', local = '', cycles = ''] = process.argv.slice(2);
const flows = new Set<Promise<unknown>>();
let taken = 0;
await using cluster = await connectCluster({ namespace });
await using link = new PodLink({
  cluster,
  pod: { namespace, name },
  hello: await laptopHello(cluster),
  onIncoming: (stream) => {
    taken += 1;
    const flow = answerDial(stream, { address: '127.0.0.1', port: Number(local) }).finally(() => flows.delete(flow));
    flows.add(flow);
  },
  onEvent: () => undefined,
});
await link.connect();
const target = { protocol: 'tcp', port: Number(port) } as const;
for (let cycle = 0; cycle < Number(cycles); cycle++) {
  await link.claim(target);
  if (cycle === 0) process.stdout.write('first\n');
  await link.release(target);
}
await Promise.all(flows);
process.stdout.write(`${taken} taken\n`);
