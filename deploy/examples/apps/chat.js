// Chat, plain TCP between two peers, A and B; either may dial. A says hello, B says hi, B says goodbye, A says bye.
// Then one half-closes and the other one, having seen that, still says a last word: a half-close is seen as such.
// The dialling peer closes first, unless it asks the other one to (then its first line says so).
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const youFirst = ' (you close first)';

/** Plays one conversation; resolves with the transcript, whose last line is `done` or what went wrong. */
export function converse(name, socket, { dialled, theyCloseFirst = false }) {
  const transcript = [];
  const note = (line) => transcript.push(line);
  let closeFirst = dialled && !theyCloseFirst;
  let said = 0;
  const say = (text) => {
    const first = dialled && said++ === 0 && theyCloseFirst;
    socket.write(`${text}${first ? youFirst : ''}\n`);
    note(`${name} says ${text}`);
  };
  return new Promise((resolve) => {
    let finished = false;
    const finish = (line) => {
      if (finished) return;
      finished = true;
      note(line);
      socket.destroy();
      resolve(transcript);
    };
    socket.setTimeout(15_000, () => finish('failed: silence'));
    socket.on('error', (error) => finish(`failed: ${error.code}`));
    let closed = false;
    let lastWord = false;
    const halfClose = () => {
      closed = true;
      note(`${name} half-closes`);
      socket.end();
    };
    const hear = (line) => {
      let text = line;
      if (line.endsWith(youFirst)) {
        closeFirst = true;
        text = line.slice(0, -youFirst.length);
      }
      note(`${name} hears ${text}`);
      if (text === 'hello') say('hi');
      if (text === 'hello' && name === 'B') say('goodbye');
      if (text === 'goodbye') say('bye');
      if (text === 'last word') lastWord = true;
      if ((text === 'goodbye' || text === 'bye') && closeFirst) halfClose();
    };
    createInterface({ input: socket })
      .on('line', hear)
      .on('error', () => {});
    socket.on('end', () => {
      note(`${name} sees the end`);
      if (closed) return finish(lastWord ? 'done' : 'failed: no last word after the half-close');
      say('last word');
      socket.end(() => finish('done'));
    });
    if (name === 'A') say('hello');
  });
}

function dial(name, target, theyCloseFirst) {
  const [host, port] = target.split(':');
  const socket = connect({ host, port: Number(port), allowHalfOpen: true });
  return converse(name, socket, { dialled: true, theyCloseFirst });
}

function listen(name, port, onConversation) {
  const server = createServer({ allowHalfOpen: true }, async (socket) => onConversation(await converse(name, socket, { dialled: false })));
  server.listen(port, () => process.stdout.write(`chat ${name} listens on ${server.address().port}\n`));
}

export async function chatCommand([name, ...rest]) {
  const option = (flag) => (rest.includes(flag) ? rest[rest.indexOf(flag) + 1] : undefined);
  const target = option('--dial');
  if (option('--listen') !== undefined) {
    listen(name, Number(option('--listen')), (lines) => {
      // a probe connects and says nothing: that is no conversation
      if (lines.some((line) => line.includes(' hears '))) process.stdout.write(`${lines.join('\n')}\n`);
    });
    // whoever connects to the trigger port makes this peer dial, and is told how that went
    if (option('--trigger') !== undefined) {
      const server = createServer({ allowHalfOpen: true }, (asker) => {
        asker.on('error', () => {});
        asker.once('data', async (order) => {
          const lines = await dial(name, target, String(order).includes('they-close-first'));
          asker.end(`${lines.join('\n')}\n`);
        });
      });
      server.listen(Number(option('--trigger')));
    }
    return;
  }
  if (rest.includes('--ask')) {
    // asks a peer's trigger port to dial, prints its transcript
    const [host, port] = option('--ask').split(':');
    const socket = connect({ host, port: Number(port), allowHalfOpen: true });
    socket.on('error', (error) => {
      process.stdout.write(`failed: ${error.code}\n`);
      process.exitCode = 1;
    });
    socket.write(rest.includes('--they-close-first') ? 'they-close-first\n' : 'go\n');
    let text = '';
    socket.on('data', (chunk) => (text += chunk));
    socket.on('end', () => {
      process.stdout.write(text);
      if (!text.endsWith('done\n')) process.exitCode = 1;
      socket.destroy();
    });
    return;
  }
  const lines = await dial(name, target, rest.includes('--they-close-first'));
  process.stdout.write(`${lines.join('\n')}\n`);
  if (lines.at(-1) !== 'done') process.exitCode = 1;
}
