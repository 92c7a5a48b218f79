import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { dial, residentBytes, start, stop, type RoleProcess } from './processes.ts';

export interface StalledReaderResult {
  readonly received: number;
  /** The most that each end's resident memory grew, in bytes: laptop, pod. */
  readonly growth: readonly [number, number];
}

/**
 * Sends `total` bytes through a tunnel of two processes to a reader that stops after a quarter until the sender has been stalled for
 * `stallMilliseconds`, and watches the resident memory of both ends. One such transfer warms the processes up first, if asked to.
 */
export async function stalledReader(total: number, stallMilliseconds: number, warmUp: number): Promise<StalledReaderResult> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  const pod = await start('pod', address.port);
  const laptop = await start('laptop', pod.port);
  try {
    const transfer = async (bytes: number, stall: number): Promise<StalledReaderResult> => {
      const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
      const source = await dial(laptop.port);
      return run(source, await accepted, [laptop, pod], bytes, stall);
    };
    if (warmUp > 0) await transfer(warmUp, 0);
    return await transfer(total, stallMilliseconds);
  } finally {
    await stop([laptop, pod]);
    server.close();
  }
}

async function run(
  source: Socket,
  reader: Socket,
  ends: readonly [RoleProcess, RoleProcess],
  total: number,
  stallMilliseconds: number,
): Promise<StalledReaderResult> {
  const before = ends.map(residentBytes);
  const growth: [number, number] = [0, 0];
  const look = (): void => {
    for (const index of [0, 1] as const) growth[index] = Math.max(growth[index], residentBytes(ends[index]) - (before[index] ?? 0));
  };
  const watch = setInterval(look, 20);
  let received = 0;
  let stalled = false;
  reader.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (stallMilliseconds === 0 || stalled || received < total / 4) return;
    stalled = true;
    reader.pause();
    void stallOf(source, stallMilliseconds).then(() => reader.resume());
  });
  reader.on('end', () => reader.end());
  const chunk = Buffer.alloc(128 * 1024);
  let left = total;
  const send = (): void => {
    while (left > 0) {
      const size = Math.min(left, chunk.length);
      left -= size;
      if (!source.write(chunk.subarray(0, size))) return;
    }
    source.end();
  };
  source.on('drain', send).resume();
  reader.resume();
  send();
  await Promise.all([once(source, 'close'), once(reader, 'close')]);
  clearInterval(watch);
  look();
  return { received, growth };
}

/** Resolves when the socket has not been able to send for so long. */
async function stallOf(socket: Socket, milliseconds: number): Promise<void> {
  let sent = -1;
  let since = performance.now();
  while (performance.now() - since < milliseconds) {
    const now = socket.bytesWritten - socket.writableLength;
    if (now !== sent) since = performance.now();
    sent = now;
    await sleep(20);
  }
}
