/**
 * A program that stands for `kpctl run` in the tests of the private network: its own network is "the laptop". It is a
 * process of its own so that it can run as another user, on a terminal, and be killed. What happens is told over IPC.
 */
import { connect } from 'node:net';
import { Failure } from '../../../src/platform/errors.ts';
import { silentLogger } from '../../../src/platform/log.ts';
import { spliceSockets } from '../../../src/forwarder/splice.ts';
import { exitCodeOf, privateNetworkAddresses, startPrivateNetwork, type RunningCommand } from '../../../src/simulator/network/index.ts';
import { Notices } from '../../../src/kpctl/links/notices.ts';
import { outboundDatagrams } from '../../../src/kpctl/laptop/outbound-datagrams.ts';
import { imitatedSession } from './imitated-session.ts';
import { scenarioSchema, updateSchema, type Report } from './scenario.ts';

const scenario = scenarioSchema.parse(JSON.parse(process.argv[2] ?? ''));

function report(message: Report): void {
  if (process.connected) process.send?.(message);
}

const carry = outboundDatagrams({
  isCluster: (address) => address.startsWith('10.96.') || address.startsWith('fd12:'),
  session: () => Promise.resolve(imitatedSession(scenario)),
  notices: new Notices(() => undefined),
  onRefused: (destination) => report({ type: 'refused', destination }),
});

async function main(): Promise<number> {
  const begin = performance.now();
  const network = await startPrivateNetwork({
    ...(scenario.ipv6 !== undefined && { ipv6: scenario.ipv6 }),
    onFlow: ({ socket, source, destination }) => {
      report({ type: 'flow', source, destination });
      const port = scenario.laptop?.[`${destination.address}:${destination.port}`];
      if (port === undefined) {
        socket.resetAndDestroy();
        return;
      }
      const dialled = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
      dialled.pause();
      void spliceSockets(socket, dialled);
    },
    onAssociation: (association) => {
      report({ type: 'association', source: association.source, destination: association.destination });
      return carry(association);
    },
    onDatagramRefused: (destination) => report({ type: 'refused', destination }),
    onPortUnavailable: ({ port, code }) => report({ type: 'unavailable', port, code }),
    onPortsChanged: (ports) => report({ type: 'ports', ports: [...ports] }),
    log: silentLogger,
  });
  // A resolver that gives every name one address: enough to see that questions arrive here and answers arrive there.
  network.dnsUdp.on('message', (query, remote) => network.dnsUdp.send(answer(query), remote.port, remote.address));
  network.dnsTcp.on('connection', (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      const reply = answer(data.subarray(2));
      socket.end(Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 255]), reply]));
    });
  });
  let counted = '';
  const counting = setInterval(() => {
    const counters = network.datagrams;
    if (JSON.stringify(counters) !== counted) report({ type: 'datagrams', counters });
    counted = JSON.stringify(counters);
  }, 50).unref();
  try {
    await network.setNames(`nameserver ${privateNetworkAddresses.dns}\nsearch shop.svc.cluster.local\noptions ndots:5\n`);
    const ready = performance.now();
    let running: RunningCommand | undefined;
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(name, () => running?.signal(name));
    if (scenario.volumes !== undefined) {
      report({ type: 'mounted', problems: [...(await network.mountVolumes(scenario.volumes))] });
      process.on('message', (message) => {
        const update = updateSchema.safeParse(message);
        if (update.success) network.updateVolume(update.data.name, update.data.files);
      });
    }
    running = await network.start({
      command: scenario.command,
      environment: { ...process.env, ...scenario.environment },
      ...(scenario.cwd !== undefined && { cwd: scenario.cwd }),
    });
    report({ type: 'started', pid: running.pid, setUp: ready - begin, start: performance.now() - ready });
    process.on('message', (message) => {
      if (message === 'close') void network.close();
    });
    process.on('disconnect', () => void network.close());
    return exitCodeOf(await running.exited);
  } finally {
    clearInterval(counting);
    report({ type: 'datagrams', counters: network.datagrams });
    await network.close();
  }
}

/** The answer to a query for an A record: 10.1.2.3; none to others. */
function answer(query: Buffer): Buffer {
  let end = 12;
  while ((query[end] ?? 0) !== 0) end += (query[end] ?? 0) + 1;
  end += 5;
  const isAddress = query.readUInt16BE(end - 4) === 1;
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8180, 2);
  for (const [offset, count] of [1, isAddress ? 1 : 0, 0, 0].entries()) header.writeUInt16BE(count, 4 + offset * 2);
  const record = isAddress ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 1, 2, 3]) : Buffer.alloc(0);
  return Buffer.concat([header, query.subarray(12, end), record]);
}

try {
  const code = await main();
  report({ type: 'exited', code });
  process.exitCode = code;
} catch (error) {
  const failure = error instanceof Failure ? { code: error.code, text: error.format(), exitCode: error.exitCode } : undefined;
  report({ type: 'failed', failure: failure ?? { code: 'BUG', text: error instanceof Error ? (error.stack ?? '') : '', exitCode: 99 } });
  process.exitCode = failure?.exitCode ?? 99;
}
if (process.connected) process.disconnect();
