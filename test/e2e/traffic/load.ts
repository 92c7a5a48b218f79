// Load from a pod: HTTP requests that are counted by who answered them.
//
//   load.ts storm URL COUNT CONCURRENCY [PER-SECOND]   each on a new connection; a line `N done` for every tenth of them, at last
//                                                      {"answered":{NAME:N},"failures":[{"number","began","ended","error"}],"turns":[{"by","from"}]}
//                                                      (ms since 1970; a turn: from then on this one answered, until the next turn)
//   load.ts keep URL CONNECTIONS                       a request on each; then `kept N by NAME`, a line as each ends: `end` or an error's code
//
// A server says who it is as the examples do: `server on NAME is well`.
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const SILENCE_MILLISECONDS = 20_000;

function open(url: URL): Socket {
  return connect({ host: url.hostname, port: Number(url.port || 80), noDelay: true });
}

/** One request; resolves with who answered. Rejects with the error, or when the answer is not whole. */
function ask(url: URL, socket: Socket, connection: 'close' | 'keep-alive'): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    function take(): void {
      const name = /^HTTP\/1\.1 200 [^]*\r\n\r\n[^]*?\w+ on (\S+) is well\n/u.exec(answer)?.[1];
      if (name !== undefined) resolve(name);
    }
    socket.setTimeout(SILENCE_MILLISECONDS, () => socket.destroy(new Error('silence')));
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
      if (connection === 'keep-alive') take();
    });
    socket.on('end', () => {
      take();
      reject(new Error(`ended after ${answer.length} bytes`)); // no effect when it was whole
    });
    socket.write(`GET ${url.pathname} HTTP/1.1\r\nhost: ${url.host}\r\nconnection: ${connection}\r\n\r\n`);
  });
}

async function storm(url: URL, count: number, concurrency: number, perSecond: number): Promise<void> {
  const answered: Record<string, number> = {};
  const failures: object[] = [];
  const turns: { readonly by: string; readonly from: number }[] = [];
  const first = Date.now();
  let started = 0;
  let done = 0;
  async function worker(): Promise<void> {
    while (started < count) {
      const number = started++;
      const early = first + (number * 1000) / perSecond - Date.now();
      if (early > 1) await delay(early);
      const began = Date.now();
      const socket = open(url);
      try {
        const name = await ask(url, socket, 'close');
        answered[name] = (answered[name] ?? 0) + 1;
        if (turns.at(-1)?.by !== name) turns.push({ by: name, from: Date.now() });
      } catch (error) {
        failures.push({ number, began, ended: Date.now(), error: error instanceof Error ? error.message : String(error) });
      }
      socket.destroy();
      if (++done % Math.ceil(count / 10) === 0) process.stdout.write(`${done} done\n`);
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker));
  process.stdout.write(`${JSON.stringify({ answered, failures, turns, milliseconds: Date.now() - first })}\n`);
}

async function keep(url: URL, connections: number): Promise<void> {
  const sockets = Array.from({ length: connections }, () => open(url));
  const names = await Promise.all(sockets.map(async (socket) => ask(url, socket, 'keep-alive')));
  const ends = sockets.map(async (socket) => {
    const how = await new Promise<string>((resolve) => {
      socket.setTimeout(0);
      socket.removeAllListeners('error');
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.on('end', () => resolve('end'));
    });
    process.stdout.write(`${how}\n`);
    socket.destroy();
  });
  process.stdout.write(`kept ${connections} by ${[...new Set(names)].join(' ')}\n`);
  await Promise.all(ends);
}

const [what, target = '', ...numbers] = process.argv.slice(2);
const url = new URL(target);
const [first = 1, second = 1, third = Infinity] = numbers.map(Number);
await (what === 'storm' ? storm(url, first, second, third) : keep(url, first));
