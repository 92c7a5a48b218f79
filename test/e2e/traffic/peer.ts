// The far end and the near end of the traffic tests, in pods and on the laptop: plain TCP, no dependencies.
//
//   peer.ts serve PORT
//   peer.ts exchange HOST:PORT CONNECTIONS BYTES     prints {"equal":N,"failures":[…],"milliseconds":N}
//   peer.ts name HOST:PORT                           prints the host name of the server
//   peer.ts endings HOST:PORT                        prints {"peer":…,"serverEndsFirst":…,"serverResets":…,"clientResets":…}
//
// The first line of a connection says what its server does: `exchange BYTES`, `end-first KEY`, `reset`, `hold KEY`,
// `recall KEY`, `name`.
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';

const BLOCK = 64 * 1024;
const CHECKSUM = 4;
const SILENCE_MILLISECONDS = 30_000;

/** How reading ended: `end`, the code of the error, or `closed` for neither. */
function reading(socket: Socket, onData: (chunk: Buffer) => void): Promise<string> {
  return new Promise((resolve) => {
    socket
      .on('data', onData)
      .once('end', () => resolve('end'))
      .once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      .once('close', () => resolve('closed'));
    socket.setTimeout(SILENCE_MILLISECONDS, () => {
      resolve('silence');
      socket.destroy();
    });
    socket.resume(); // it may have been paused
  });
}

/** Writes that many bytes, no two blocks of them alike, then their CRC-32. */
async function sendBytes(socket: Socket, bytes: number): Promise<void> {
  const closed = new AbortController();
  socket.once('close', () => closed.abort());
  const noise = randomBytes(BLOCK);
  let checksum = 0;
  for (let sent = 0; sent < bytes && !socket.destroyed; sent += BLOCK) {
    noise.writeDoubleLE(sent);
    const block = Buffer.from(noise.subarray(0, Math.min(BLOCK, bytes - sent)));
    checksum = crc32(block, checksum);
    if (!socket.write(block)) await once(socket, 'drain', { signal: closed.signal }).catch(() => undefined);
  }
  const trailer = Buffer.alloc(CHECKSUM);
  trailer.writeUInt32BE(checksum);
  socket.write(trailer);
}

/** Takes what `sendBytes` wrote apart; what follows it is `rest`. */
class Received {
  readonly #bytes: number;
  #count = 0;
  #checksum = 0;
  #tail = Buffer.alloc(0);

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  add(chunk: Buffer): void {
    const body = chunk.subarray(0, Math.max(0, this.#bytes - this.#count));
    this.#checksum = crc32(body, this.#checksum);
    this.#count += body.length;
    if (body.length < chunk.length) this.#tail = Buffer.concat([this.#tail, chunk.subarray(body.length)]);
  }

  /** `equal`, or what is wrong. */
  get verdict(): string {
    if (this.#count < this.#bytes || this.#tail.length < CHECKSUM) return `${this.#count} of ${this.#bytes} bytes`;
    return this.#tail.readUInt32BE() === this.#checksum ? 'equal' : 'another checksum';
  }

  get rest(): string {
    return this.#tail.subarray(CHECKSUM).toString();
  }
}

/** What became of connections that somebody may ask about, by key. */
const remembered = new Map<string, string>();

function answer(socket: Socket): void {
  let head = Buffer.alloc(0);
  const onHead = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf(10);
    if (end === -1) return;
    socket.off('data', onHead).pause();
    const [order = '', argument = ''] = head.subarray(0, end).toString().split(' ');
    const rest = head.subarray(end + 1);
    if (rest.length > 0) socket.unshift(rest);
    void obey(socket, order, argument);
  };
  socket.on('error', () => undefined).on('data', onHead);
}

async function obey(socket: Socket, order: string, argument: string): Promise<void> {
  switch (order) {
    case 'exchange': {
      const received = new Received(Number(argument));
      const [ended] = await Promise.all([reading(socket, (chunk) => received.add(chunk)), sendBytes(socket, Number(argument))]);
      // said after the client's half-close: it arrives only where that one is carried as such
      socket.end(ended === 'end' ? received.verdict : ended);
      return;
    }
    case 'end-first': {
      let heard = '';
      socket.end();
      const ended = await reading(socket, (chunk) => (heard += chunk.toString()));
      remembered.set(argument, `${heard} ${ended}`);
      return;
    }
    case 'reset':
      socket.resetAndDestroy();
      return;
    case 'hold':
      remembered.set(argument, 'holding');
      socket.write('held\n');
      remembered.set(argument, await reading(socket, () => undefined));
      socket.destroy();
      return;
    case 'recall':
      socket.end(remembered.get(argument) ?? 'unknown');
      break;
    default:
      socket.end(hostname());
  }
  socket.resume();
}

function dial(target: string, order: string): Socket {
  const [host = '', port] = target.split(':');
  const socket = connect({ host, port: Number(port), allowHalfOpen: true });
  socket.write(`${order}\n`);
  return socket;
}

async function ask(target: string, order: string): Promise<string> {
  const socket = dial(target, order);
  let text = '';
  const ended = await reading(socket, (chunk) => (text += chunk.toString()));
  socket.end();
  return ended === 'end' ? text : ended;
}

async function exchange(target: string, bytes: number): Promise<string> {
  const socket = dial(target, `exchange ${bytes}`);
  const received = new Received(bytes);
  const [ended] = await Promise.all([
    reading(socket, (chunk) => received.add(chunk)),
    sendBytes(socket, bytes).then(() => socket.end()), // half-closes, and goes on reading
  ]);
  if (ended !== 'end') return ended;
  return received.verdict === 'equal' ? received.rest : received.verdict;
}

/** What the server remembers, once it does not hold that connection any more. */
async function recall(target: string, key: string): Promise<string> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const answered = await ask(target, `recall ${key}`);
    if (answered !== 'holding' && answered !== 'unknown') return answered;
    await delay(100);
  }
  return 'never told';
}

async function serverEndsFirst(target: string): Promise<string> {
  const key = randomUUID();
  const socket = dial(target, `end-first ${key}`);
  const ended = await reading(socket, () => undefined);
  socket.end('last word');
  return `client: ${ended}; server: ${await recall(target, key)}`;
}

async function clientResets(target: string): Promise<string> {
  const key = randomUUID();
  const socket = dial(target, `hold ${key}`);
  try {
    await once(socket, 'data');
  } catch (error) {
    return `not held: ${String(error)}`;
  }
  socket.resetAndDestroy();
  return await recall(target, key);
}

async function serverResets(target: string): Promise<string> {
  return await reading(dial(target, 'reset'), () => undefined);
}

const [command, first = '', second = '1', third = '0'] = process.argv.slice(2);
if (command === 'serve') {
  const server = createServer({ allowHalfOpen: true }, answer);
  server.listen(Number(first), () => {
    const address = server.address();
    process.stdout.write(`peer listens on ${typeof address === 'object' ? address?.port : ''}\n`);
  });
  process.on('SIGTERM', () => process.exit(0));
} else if (command === 'exchange') {
  const began = performance.now();
  const results = await Promise.all(Array.from({ length: Number(second) }, () => exchange(first, Number(third))));
  const failures = results.filter((result) => result !== 'equal');
  const milliseconds = Math.round(performance.now() - began);
  process.stdout.write(`${JSON.stringify({ equal: results.length - failures.length, failures, milliseconds })}\n`);
} else if (command === 'name') {
  process.stdout.write(`${await ask(first, 'name')}\n`);
} else {
  const endings = {
    peer: await ask(first, 'name'),
    serverEndsFirst: await serverEndsFirst(first),
    serverResets: await serverResets(first),
    clientResets: await clientResets(first),
  };
  process.stdout.write(`${JSON.stringify(endings)}\n`);
}
