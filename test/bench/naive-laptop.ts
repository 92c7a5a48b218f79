/** The naive multiplexer's end on the laptop, over a port-forward of ours: `naive-laptop.ts NAMESPACE POD PORT`; says `listens PORT`. */
import { createServer } from 'node:net';
import { connectCluster } from '../../src/cluster/connect.ts';
import { naiveNear } from './load/naive.ts';

const [namespace = '', pod = '', port = ''] = process.argv.slice(2);
const cluster = await connectCluster({ namespace });
const server = createServer(
  { noDelay: true, allowHalfOpen: true },
  naiveNear(await cluster.portForward({ namespace, pod, port: Number(port) })),
);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`listens ${typeof address === 'object' ? (address?.port ?? 0) : 0}\n`);
});
