/**
 * What names cost: kpeering's resolver, in a process of its own as with `kpctl up`, beside asking the upstream directly, in the same run. The
 * upstream is dnsmasq with a zone of its own (`apt-get install dnsmasq-base`). Queries go over UDP and loopback, from one process:
 *
 *     one at a time    the latency of a query: p50 and p99
 *     32 at a time     queries per second, of 1,000 Services of a cluster in turn; and the CPU that the server takes for one, which says more where
 *                      other things run on the machine
 *
 *     node test/bench/dns.ts [--seconds 3]
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { encodeQuery, TYPE } from '../../src/simulator/dns/message.ts';
import { cpuSeconds } from './processes.ts';
import { percentile } from './ratios.ts';

const seconds = Number(parseArgs({ options: { seconds: { type: 'string', default: '3' } } }).values.seconds);
const SERVICES = 1000;

interface Measured {
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
  readonly queries: number;
}

async function connected(port: number): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

/** Makes the next query, whose octets are used until the one after it. */
type Queries = () => Buffer;

/** Names that nobody asked for before: `host-0000001.bench.example` and so on. */
function newNames(): Queries {
  const query = encodeQuery(0, 'host-0000000.bench.example', TYPE.A);
  const digits = query.indexOf('0000000');
  let turn = 0;
  return () => {
    turn += 1;
    query.write(String(turn).padStart(7, '0'), digits, 'latin1');
    return query;
  };
}

function inTurn(names: readonly string[]): Queries {
  const queries = names.map((name) => encodeQuery(0, name, TYPE.A));
  let turn = 0;
  return () => {
    turn = (turn + 1) % queries.length;
    return queries[turn] ?? Buffer.alloc(0);
  };
}

/** Asks `parallel` at a time for a while. The id tells which query an answer belongs to. */
async function ask(port: number, queries: Queries, parallel: number): Promise<Measured> {
  const socket = await connected(port);
  const latencies: number[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const sent = new Map<number, number>();
  const until = performance.now() + seconds * 1000;
  let id = 0;
  const next = (): void => {
    if (performance.now() >= until) {
      if (sent.size === 0) resolve();
      return;
    }
    id = (id + 1) & 0xffff;
    sent.set(id, performance.now());
    const query = Buffer.from(queries());
    query.writeUInt16BE(id, 0);
    socket.send(query);
  };
  socket.on('error', reject);
  socket.on('message', (message) => {
    const began = sent.get(message.readUInt16BE(0));
    if (began === undefined) return;
    sent.delete(message.readUInt16BE(0));
    latencies.push(performance.now() - began);
    if (message.readUInt16BE(6) === 0) reject(new Error('an answer without a record'));
    next();
  });
  const began = performance.now();
  for (let index = 0; index < parallel; index += 1) next();
  // A lost datagram would end the run: there is none on loopback, and the deadline says so if there is.
  const deadline = setTimeout(reject, seconds * 1000 + 5000, new Error('answers are missing'));
  try {
    await promise;
  } finally {
    clearTimeout(deadline);
    socket.close();
  }
  const elapsed = (performance.now() - began) / 1000;
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    perSecond: latencies.length / elapsed,
    queries: latencies.length,
  };
}

async function waitUntilAnswered(port: number, name: string): Promise<void> {
  const socket = await connected(port);
  socket.on('error', () => {});
  const answered = once(socket, 'message');
  const again = setInterval(() => socket.send(encodeQuery(1, name, TYPE.A)), 50);
  await answered;
  clearInterval(again);
  socket.close();
}

/** A port that nobody has now. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

function startDnsmasq(port: number): ChildProcess {
  const options = [
    [
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--no-resolv',
      '--no-hosts',
      '--pid-file=',
      '--cache-size=0',
      '--dns-forward-max=1000',
    ],
    ['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${port}`, '--address=/bench.example/192.0.2.1', '--local-ttl=60'],
  ].flat();
  return spawn('dnsmasq', options, { stdio: ['ignore', 'inherit', 'inherit'] });
}

async function startResolver(upstream: number): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'dns-resolver.ts'), String(upstream), String(SERVICES)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ port }] = z
    .tuple([z.object({ port: z.int() })])
    .rest(z.unknown())
    .parse(await once(child, 'message'));
  return { child, port };
}

const upstreamPort = await freePort();
const dnsmasq = startDnsmasq(upstreamPort);
await once(dnsmasq, 'spawn').catch((error: unknown) => {
  throw new Error('the upstream is dnsmasq: sh scripts/setup bench installs it', { cause: error });
});
const resolver = await startResolver(upstreamPort);
try {
  await waitUntilAnswered(upstreamPort, 'warm.bench.example');
  const cluster = inTurn(Array.from({ length: SERVICES }, (_, index) => `service-${index}.bench.svc.cluster.local`));
  const outside = newNames();
  const same = inTurn(['www.bench.example']);
  await ask(resolver.port, cluster, 32);
  const rows: [string, number, Queries, ChildProcess][] = [
    ['upstream directly', upstreamPort, outside, dnsmasq],
    ['non-cluster names, new each time', resolver.port, outside, resolver.child],
    ['a non-cluster name, kept', resolver.port, same, resolver.child],
    ['cluster names', resolver.port, cluster, resolver.child],
  ];
  const results = new Map<string, { readonly one: Measured; readonly many: Measured }>();
  for (const [title, port, queries, child] of rows) {
    const one = await ask(port, queries, 1);
    const before = cpuSeconds({ child });
    const many = await ask(port, queries, 32);
    const cpu = ((cpuSeconds({ child }) - before) / many.queries) * 1e6;
    results.set(title, { one, many });
    const latency = `p50 ${one.p50.toFixed(3)} ms, p99 ${one.p99.toFixed(3)} ms`;
    process.stdout.write(
      `${title.padEnd(34)}${latency.padEnd(34)}${`${Math.round(many.perSecond)}/s`.padEnd(10)}${cpu.toFixed(0)} µs of CPU a query\n`,
    );
  }
  const direct = results.get('upstream directly');
  const through = results.get('non-cluster names, new each time');
  const own = results.get('cluster names');
  if (direct !== undefined && through !== undefined && own !== undefined) {
    process.stdout.write(`a non-cluster name costs ${(through.one.p50 - direct.one.p50).toFixed(3)} ms more (goal: at most 0.5)\n`);
    process.stdout.write(
      `cluster names: p50 ${own.one.p50.toFixed(3)} ms (goal: at most 0.5), ${Math.round(own.many.perSecond)}/s (goal: at least 10000)\n`,
    );
  }
} finally {
  resolver.child.kill();
  dnsmasq.kill();
}
