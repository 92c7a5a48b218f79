// UDP: a server that sends every datagram back behind its own name, and a client that checks what comes.
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { hostname } from 'node:os';

export function serveUdp(port) {
  const socket = createSocket({ type: 'udp6' });
  socket.on('message', (message, { address, port: from }) => socket.send(Buffer.concat([message, Buffer.from(hostname())]), from, address));
  socket.on('error', () => {});
  socket.bind(port, () => process.stdout.write(`udp listens on ${socket.address().port}\n`));
}

/** Sends `count` datagrams of `size` bytes, each when the one before has been answered, or after a second; prints who answered how many whole. */
export async function udpCommand([host, port, size = '64', count = '1']) {
  const { address, family } = await lookup(host);
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  const answers = {};
  for (let number = 0; number < Number(count); number++) {
    const sent = randomBytes(Number(size));
    const name = await new Promise((resolve) => {
      const timer = setTimeout(() => resolve('nobody'), 1000);
      const hear = (message) => {
        if (!message.subarray(0, sent.length).equals(sent)) return;
        clearTimeout(timer);
        socket.off('message', hear);
        resolve(message.subarray(sent.length).toString());
      };
      socket.on('message', hear);
      socket.send(sent, Number(port), address);
    });
    answers[name] = (answers[name] ?? 0) + 1;
  }
  socket.close();
  process.stdout.write(`${JSON.stringify(answers)}\n`);
}
