/**
 * Speed of the tunnel on this machine, over loopback: source → laptop's end → pod's end → sink, each a process of its own,
 * beside the same without a tunnel (`direct`), through processes that pipe (`relay`, `relay2`) and a naive multiplexer; `spdy` puts TLS and
 * SPDY between the two ends, as a port-forward does. CPU is that of our own processes, the pod's first (`hop 0`).
 *
 *     node test/bench/tunnel.ts [--seconds 3] [--runs 3] [--paths direct,relay,relay2,naive,tunnel,spdy] [--parts bulk,echo,connections]
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { cpuSeconds, dial, messageOf, start, stop, type Role, type RoleProcess } from './processes.ts';

/** The processes between source and sink, from the sink's side. */
const paths = {
  direct: [],
  relay: ['relay'],
  relay2: ['relay', 'relay'],
  naive: ['naive-far', 'naive-near'],
  tunnel: ['pod', 'laptop'],
  spdy: ['pod', 'api', 'laptop-spdy'],
} as const satisfies Record<string, readonly Role[]>;

/** MB/s that arrive while `flows` connections send up, or receive down. */
async function throughput(
  port: number,
  sink: ChildProcess,
  direction: 'up' | 'down',
  flows: number,
  seconds: number,
): Promise<{ readonly rate: number; readonly gigabytes: number }> {
  const chunk = Buffer.alloc(128 * 1024, 0x73);
  const sockets = await Promise.all(Array.from({ length: flows }, async () => dial(port)));
  let received = 0;
  const arrived = async (): Promise<number> => (direction === 'up' ? swallowed(sink) : received);
  const first = await arrived();
  for (const socket of sockets) {
    const send = (): void => {
      while (socket.write(chunk));
    };
    socket.on('error', () => socket.destroy());
    socket.on('data', (data: Buffer) => (received += data.length));
    if (direction === 'down') socket.write('d');
    else {
      socket.on('drain', send);
      send();
    }
  }
  await sleep(300);
  const before = await arrived();
  const began = performance.now();
  await sleep(seconds * 1000);
  const after = await arrived();
  const elapsed = performance.now() - began;
  for (const socket of sockets) socket.resetAndDestroy();
  const gigabytes = ((await arrived()) - first) / 1e9;
  await sleep(200);
  return { rate: (after - before) / 1e6 / (elapsed / 1000), gigabytes };
}

async function swallowed(sink: ChildProcess): Promise<number> {
  sink.send('?');
  return Number(await messageOf(sink));
}

/** Echoes of 64 bytes on `flows` kept connections: how many a second, and the median in microseconds. */
async function echoes(
  port: number,
  flows: number,
  seconds: number,
): Promise<{ readonly rate: number; readonly median: number; readonly count: number }> {
  const times: number[] = [];
  const message = Buffer.alloc(64, 0x65);
  const until = performance.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: flows }, async () => {
      const socket = await dial(port);
      socket.on('error', () => socket.destroy());
      const { promise, resolve } = Promise.withResolvers<void>();
      let sentAt = performance.now();
      socket.on('data', () => {
        const now = performance.now();
        times.push(now - sentAt);
        sentAt = now;
        if (now > until) resolve();
        else socket.write(message);
      });
      socket.write(message);
      await promise;
      socket.resetAndDestroy();
    }),
  );
  times.sort((a, b) => a - b);
  return { rate: times.length / seconds, median: (times[times.length >> 1] ?? 0) * 1000, count: times.length };
}

/** Connections a second, each of one echo, by `workers` at once. */
async function connections(port: number, workers: number, seconds: number): Promise<number> {
  let count = 0;
  const until = performance.now() + seconds * 1000;
  const message = Buffer.alloc(64, 0x65);
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (performance.now() < until) {
        const socket = await dial(port);
        socket.on('error', () => socket.destroy());
        socket.write(message);
        await once(socket, 'data');
        socket.end();
        socket.resume();
        await once(socket, 'close');
        count += 1;
      }
    }),
  );
  return count / seconds;
}

function median(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[sorted.length >> 1] ?? 0).toFixed(0);
}

async function measure(path: keyof typeof paths, runs: number, seconds: number, parts: readonly string[]): Promise<void> {
  const sink = await start('sink');
  const hops: RoleProcess[] = [];
  let { port } = sink;
  for (const role of paths[path]) {
    const hop = await start(role, port);
    hops.push(hop);
    ({ port } = hop);
  }
  // What stands for the API server is not ours.
  const ours = hops.filter((_, index) => paths[path][index] !== 'api');
  const results: Record<string, number[]> = {};
  const note = (name: string, value: number): void => void (results[name] ??= []).push(value);
  const withCpu = async (unit: string, scale: number, work: () => Promise<number>): Promise<void> => {
    const before = ours.map(cpuSeconds);
    const count = await work();
    for (const [index, hop] of ours.entries()) note(`${unit} hop ${index}`, ((cpuSeconds(hop) - (before[index] ?? 0)) / count) * scale);
  };
  for (let run = 0; run < runs; run += 1) {
    for (const flows of parts.includes('bulk') ? [1, 8] : []) {
      for (const direction of ['up', 'down'] as const) {
        await withCpu(`ms CPU/GB ${direction} ${flows} fl`, 1e3, async () => {
          const { rate, gigabytes } = await throughput(port, sink.child, direction, flows, seconds);
          note(`MB/s ${direction} ${flows} fl`, rate);
          return gigabytes;
        });
      }
    }
    for (const flows of parts.includes('echo') ? [1, 8] : []) {
      await withCpu(`µs CPU/echo on ${flows}`, 1e6, async () => {
        const { rate, median: p50, count } = await echoes(port, flows, seconds);
        note(`echo/s on ${flows}`, rate);
        note(`echo p50 on ${flows}, µs`, p50);
        return count;
      });
    }
    if (!parts.includes('connections')) continue;
    await withCpu('µs CPU/connection', 1e6, async () => {
      const rate = await connections(port, 8, seconds);
      note('connections/s', rate);
      return rate * seconds;
    });
  }
  const line = Object.entries(results).map(([name, values]) => `${name} ${median(values)}`);
  process.stdout.write(`${path}\n  ${line.join('\n  ')}\n`);
  await stop([...hops.toReversed(), sink]);
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    runs: { type: 'string', default: '3' },
    paths: { type: 'string', default: Object.keys(paths).join(',') },
    parts: { type: 'string', default: 'bulk,echo,connections' },
  },
});

function isPath(path: string): path is keyof typeof paths {
  return path in paths;
}

for (const path of values.paths.split(','))
  if (isPath(path)) await measure(path, Number(values.runs), Number(values.seconds), values.parts.split(','));
