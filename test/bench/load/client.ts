/**
 * The load of the cluster's benchmark: reads one order in JSON from each line of stdin, and answers each by one line of JSON on stdout.
 * The same program makes the load on every path, so that its own cost is the same in all. No imports but Node's: it runs from a ConfigMap.
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

interface Order {
  readonly kind: 'who' | 'until' | 'requests' | 'connections' | 'down' | 'up';
  readonly host: string;
  readonly port: number;
  /** Of `requests`: kept connections; of `connections`: workers. */
  readonly parallel?: number;
  readonly seconds?: number;
  /** Of `down` and `up`. */
  readonly bytes?: number;
  /** Of `until`: who is waited for. */
  readonly by?: string;
  /** The reader stops for so many milliseconds after a quarter. */
  readonly stall?: number;
}

const GET = Buffer.from('GET /small HTTP/1.1\r\nHost: bench\r\n\r\n');
const GET_ONCE = Buffer.from('GET /small HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n');
const CHUNK = Buffer.alloc(128 * 1024, 0x78);

async function dial({ host, port }: Order): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: true });
    socket.once('error', reject).once('connect', () => resolve(socket.off('error', reject)));
  });
}

/** The length of a response to GET /small on a kept connection: all are the same. */
async function lengthOf(order: Order): Promise<number> {
  const socket = await dial(order);
  return new Promise((resolve, reject) => {
    let text = '';
    socket.on('error', reject).on('close', () => reject(new Error('closed before a whole answer')));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const head = text.indexOf('\r\n\r\n') + 4;
      const length = head + Number(/content-length: (\d+)/iu.exec(text)?.[1]);
      if (head < 4 || text.length < length) return;
      resolve(length);
      socket.end();
    });
    socket.write(GET);
  });
}

/** How long until the answer to a new connection is `by`'s: each is asked for as soon as the one before has come. */
async function until(order: Order): Promise<object> {
  const began = performance.now();
  let asked = 0;
  for (;;) {
    asked += 1;
    const text = await small(order);
    if (text.includes(`answered by ${order.by} `) || performance.now() - began > 20_000) break;
  }
  return { milliseconds: performance.now() - began, asked };
}

/** A whole response to GET /small on a connection of its own. */
async function small(order: Order): Promise<string> {
  const socket = await dial(order);
  return new Promise((resolve, reject) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.on('error', reject).on('end', () => {
      socket.end();
      resolve(text);
    });
    socket.write(GET_ONCE);
  });
}

/** Requests one after the other on kept connections. */
async function requests(order: Order): Promise<object> {
  const length = await lengthOf(order);
  const times: number[] = [];
  const sockets = await Promise.all(Array.from({ length: order.parallel ?? 1 }, async () => dial(order)));
  const began = performance.now();
  // The first fifth warms the path up and does not count.
  const from = began + (order.seconds ?? 1) * 200;
  const until = began + (order.seconds ?? 1) * 1200;
  await Promise.all(
    sockets.map(async (socket) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      let missing = length;
      let sentAt = performance.now();
      socket.on('error', reject).on('close', () => reject(new Error('closed')));
      socket.on('data', (chunk: Buffer) => {
        missing -= chunk.length;
        if (missing > 0) return;
        const now = performance.now();
        if (now > from) times.push(now - sentAt);
        if (now > until) {
          resolve();
          return;
        }
        missing = length;
        sentAt = now;
        socket.write(GET);
      });
      socket.write(GET);
      await promise;
      socket.end();
    }),
  );
  const seconds = (performance.now() - from) / 1000;
  times.sort((a, b) => a - b);
  const quantile = (q: number): number => (times[Math.floor(times.length * q)] ?? 0) * 1000;
  return { perSecond: times.length / seconds, p50: quantile(0.5), p99: quantile(0.99) };
}

/** One request on each new connection, which the server closes. */
async function connections(order: Order): Promise<object> {
  let count = 0;
  let failed = 0;
  const began = performance.now();
  const until = began + (order.seconds ?? 1) * 1000;
  const once = async (): Promise<boolean> =>
    new Promise((resolve) => {
      let length = 0;
      const socket = connect({ host: order.host, port: order.port, noDelay: true, allowHalfOpen: true });
      socket.on('data', (chunk: Buffer) => (length += chunk.length));
      socket.on('end', () => socket.end());
      socket.on('error', () => resolve(false));
      socket.on('close', () => resolve(length > 0));
      socket.write(GET_ONCE);
    });
  await Promise.all(
    Array.from({ length: order.parallel ?? 1 }, async () => {
      while (performance.now() < until) {
        if (await once()) count += 1;
        else failed += 1;
      }
    }),
  );
  return { perSecond: count / ((performance.now() - began) / 1000), failed };
}

async function down(order: Order): Promise<object> {
  const socket = await dial(order);
  const began = performance.now();
  const bytes = order.bytes ?? 1;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let received = 0;
  let stalled = (order.stall ?? 0) === 0;
  socket.on('error', reject).on('close', () => reject(new Error(`closed after ${received} bytes`)));
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (received >= bytes) resolve();
    if (stalled || received < bytes / 4) return;
    stalled = true;
    socket.pause();
    setTimeout(() => socket.resume(), order.stall);
  });
  socket.write(`GET /bytes?n=${bytes} HTTP/1.1\r\nHost: bench\r\n\r\n`);
  await promise;
  socket.end();
  return { megabytesPerSecond: bytes / 1e6 / ((performance.now() - began) / 1000) };
}

async function up(order: Order): Promise<object> {
  const socket = await dial(order);
  const began = performance.now();
  const bytes = order.bytes ?? 1;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.on('error', reject).on('close', () => reject(new Error('closed before the answer')));
  socket.once('data', () => resolve());
  socket.write(`POST /?stall=${order.stall ?? 0} HTTP/1.1\r\nHost: bench\r\nContent-Length: ${bytes}\r\n\r\n`);
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const size = Math.min(left, CHUNK.length);
      left -= size;
      if (!socket.write(size === CHUNK.length ? CHUNK : CHUNK.subarray(0, size))) return;
    }
  };
  socket.on('drain', more);
  more();
  await promise;
  socket.end();
  return { megabytesPerSecond: bytes / 1e6 / ((performance.now() - began) / 1000) };
}

/** Enough for what the process that started this one says. */
function isOrder(value: unknown): value is Order {
  return typeof value === 'object' && value !== null && 'kind' in value && 'host' in value && 'port' in value;
}

const kinds = { who: async (order: Order) => ({ text: await small(order) }), until, requests, connections, down, up } as const;

for await (const line of createInterface({ input: process.stdin })) {
  const order: unknown = JSON.parse(line);
  if (!isOrder(order)) throw new Error(`not an order: ${line}`);
  const answer = await kinds[order.kind](order).catch((error: unknown) => ({ error: String(error) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
