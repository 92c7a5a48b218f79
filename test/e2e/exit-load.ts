/**
 * COMMAND of `kpctl run`: calls http://HOST/status on a new connection every 20 ms, each for at most 20 s, and keeps one connection open through which a byte goes
 * every 100 ms (opened anew after each end). Prints a line of JSON for each end of either, and `calling` when the first call was answered.
 */
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const [host = ''] = process.argv.slice(2);
const PATIENCE_MILLISECONDS = 20_000;
let answered = 0;

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function call(): void {
  const began = Date.now();
  const socket = connect(80, host);
  let text = '';
  let ended = false;
  const end = (outcome: string): void => {
    if (ended) return;
    ended = true;
    socket.destroy();
    answered += outcome === 'answered' ? 1 : 0;
    if (answered === 1 && outcome === 'answered') process.stdout.write('calling\n');
    print({ kind: 'call', began, milliseconds: Date.now() - began, outcome });
  };
  socket.setTimeout(PATIENCE_MILLISECONDS, () => end('hung'));
  socket.on('error', (error) => end('code' in error ? String(error.code) : error.message));
  socket.on('data', (chunk) => (text += chunk.toString()));
  socket.on('end', () => end(text.startsWith('HTTP/1.1 200 ') ? 'answered' : 'cut off'));
  socket.write(`GET /status HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
}

/** A request whose end never comes: the server waits for it, and says nothing. */
async function keep(): Promise<void> {
  for (;;) {
    const began = Date.now();
    const socket = connect(80, host);
    socket.write(`POST /status HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000000\r\n\r\n`);
    const timer = setInterval(() => socket.write('x'), 100);
    const outcome = await new Promise<string>((resolve) => {
      socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
      socket.on('close', () => resolve('closed'));
      socket.resume();
    });
    clearInterval(timer);
    print({ kind: 'kept', began, milliseconds: Date.now() - began, outcome });
    await delay(100);
  }
}

setInterval(call, 20);
await keep();
