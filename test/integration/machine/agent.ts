/**
 * The agent of these tests: answers every captured flow with where it wanted to go and where it came from, then echoes; datagrams likewise; questions about
 * names with the word `names`.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Failure, messageOf } from '../../../src/platform/errors.ts';
import { silentLogger } from '../../../src/platform/log.ts';
import type { Flow } from '../../../src/interceptor/types.ts';
import { joinMachine, report, type MachineNetwork } from '../../../src/simulator/machine/index.ts';
import type { DatagramFlow } from '../../../src/forwarder/index.ts';
import type { DatagramSink, TunnelAssociation } from '../../../src/tunnel/types.ts';
import { controlPort, refusedPort, scenarioSchema, type Ready } from './scenario.ts';

const scenario = scenarioSchema.parse(JSON.parse(process.argv[2] ?? ''));
let machine: MachineNetwork | undefined;

function onFlow({ socket, source, destination }: Flow): void {
  socket.on('error', () => undefined);
  if (destination.port === controlPort) {
    createInterface({ input: socket }).on('line', (line) => {
      void machine?.setNetworks(scenarioSchema.parse(JSON.parse(line))).then(
        () => socket.write('done\n'),
        (error: unknown) => socket.write(`${messageOf(error)}\n`),
      );
    });
    return;
  }
  socket.write(`to ${destination.address} ${destination.port} from ${source.address}\n`);
  socket.pipe(socket);
}

function onAssociation({ source, destination }: DatagramFlow): TunnelAssociation {
  let sink: DatagramSink | undefined;
  return {
    id: 1,
    attach: (given) => {
      sink = given;
      if (destination.port === refusedPort)
        queueMicrotask(() => given.closed({ kind: 'refused', errorClass: 'refused', message: 'by the test' }));
    },
    send: (payload) => {
      if (payload.length > 1000) sink?.datagram(payload);
      else sink?.datagram(Buffer.from(`to ${destination.address} ${destination.port} from ${source.address}: ${payload.toString()}`));
      return true;
    },
    close: () => undefined,
  };
}

function ready(): Ready {
  const status = readFileSync('/proc/self/status', 'utf8').split('\n');
  return {
    type: 'ready',
    pid: process.pid,
    uid: process.geteuid?.() ?? -1,
    gid: process.getegid?.() ?? -1,
    groups: process.getgroups?.() ?? [],
    directory: process.cwd(),
    ...(process.env['HOME'] !== undefined && { home: process.env['HOME'] }),
    ...(process.env['SECRET'] !== undefined && { secret: process.env['SECRET'] }),
    capabilities: status.filter((line) => /^Cap(Inh|Prm|Eff|Amb)/u.test(line)),
  };
}

try {
  const joined = await joinMachine({
    ...scenario,
    names: {
      domain: 'cluster.local',
      search: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
      namespaces: ['shop'],
      networks: ['10.96.0.0/16'],
    },
    onFlow,
    onAssociation,
    onNamesChanged: () => undefined,
    log: silentLogger,
  });
  machine = joined;
  for (const socket of joined.dnsUdp) {
    socket.on('message', (_, { port, address }) => socket.send('names', port, address));
  }
  for (const server of joined.dnsTcp) server.on('connection', (socket) => socket.on('error', () => undefined).end('names'));
  process.on('SIGTERM', () => void joined.close().then(() => process.exit(0)));
  void joined.lost.then(() => process.exit(0));
  report(ready());
} catch (error) {
  report({ type: 'failed', code: error instanceof Failure ? error.code : '', message: messageOf(error) });
  // With its channel it ends.
  process.disconnect();
}
