/** What the tunnel is measured against: the shortest multiplexer that one would write, without credit, fairness or refusal. */
import { connect, Socket } from 'node:net';
import type { Duplex } from 'node:stream';

const HOST = '127.0.0.1';

function mux(duplex: Duplex, opened: (id: number) => Socket): (id: number, socket: Socket) => void {
  const streams = new Map<number, Socket>();
  let rest: Buffer = Buffer.alloc(0);
  function send(id: number, type: number, payload: Buffer): boolean {
    const header = Buffer.allocUnsafe(9);
    header.writeUInt32BE(id, 0);
    header.writeUInt32BE(payload.length, 4);
    header.writeUInt8(type, 8);
    duplex.cork();
    duplex.write(header);
    const more = duplex.write(payload);
    process.nextTick(() => duplex.uncork());
    return more;
  }
  function add(id: number, socket: Socket): void {
    streams.set(id, socket);
    socket.on('data', (chunk: Buffer) => {
      if (send(id, 0, chunk)) return;
      socket.pause();
      duplex.once('drain', () => socket.resume());
    });
    socket.on('end', () => send(id, 1, Buffer.alloc(0)));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (streams.delete(id)) send(id, 2, Buffer.alloc(0));
    });
  }
  duplex.setMaxListeners(0);
  duplex.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= 9) {
      const id = rest.readUInt32BE(0);
      const end = 9 + rest.readUInt32BE(4);
      if (rest.length < end) break;
      let socket = streams.get(id);
      if (rest[8] === 2) {
        streams.delete(id);
        socket?.destroy();
        rest = rest.subarray(end);
        continue;
      }
      if (socket === undefined) add(id, (socket = opened(id)));
      if (rest[8] === 1) socket.end();
      else socket.write(rest.subarray(9, end));
      rest = rest.subarray(end);
    }
  });
  duplex.on('error', () => duplex.destroy());
  return add;
}

/** The far end: dials `target` for each new stream. */
export function naiveFar(target: number): (duplex: Duplex) => void {
  return (duplex) => mux(duplex, () => connect({ host: HOST, port: target, noDelay: true, allowHalfOpen: true }));
}

/** The near end: one stream for each connection to it. */
export function naiveNear(target: number | Duplex): (socket: Socket) => void {
  let next = 0;
  const add = mux(typeof target === 'number' ? connect({ host: HOST, port: target, noDelay: true }) : target, () => new Socket());
  return (socket) => add((next += 1), socket);
}
