/**
 * The server of the cluster's benchmark, in a pod and on the laptop: `server.ts PORT`. As little HTTP as answers its client, because what
 * Node's own costs for each request would hide what the path costs. No imports but Node's: it runs from a ConfigMap.
 *
 *     GET /small      a few bytes      GET /bytes?n=N      N bytes      POST /      takes the body; /?stall=MS stops for so long after a quarter
 */
import { createServer, type Socket } from 'node:net';
import { hostname } from 'node:os';

const SMALL = response(Buffer.from(`answered by ${hostname().padEnd(40)}\n`));
const CHUNK = Buffer.alloc(128 * 1024, 0x78);

function response(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]);
}

function sendBytes(socket: Socket, total: number): void {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
  let left = total;
  const more = (): void => {
    while (left > 0) {
      const size = Math.min(left, CHUNK.length);
      left -= size;
      if (!socket.write(size === CHUNK.length ? CHUNK : CHUNK.subarray(0, size))) return;
    }
    socket.off('drain', more);
  };
  socket.on('drain', more);
  more();
}

function serve(socket: Socket): void {
  let head = '';
  let body = 0;
  let stallAt = -1;
  let stall = 0;
  const takeBody = (bytes: number): void => {
    body -= bytes;
    if (body <= 0) socket.write(SMALL);
    else if (body <= stallAt) {
      stallAt = -1;
      socket.pause();
      setTimeout(() => socket.resume(), stall);
    }
  };
  socket.on('data', (chunk: Buffer) => {
    if (body > 0) {
      takeBody(chunk.length);
      return;
    }
    head += chunk.toString('latin1');
    for (let end = head.indexOf('\r\n\r\n'); end >= 0; end = head.indexOf('\r\n\r\n')) {
      const request = head.slice(0, end);
      head = head.slice(end + 4);
      if (request.startsWith('GET /bytes?n=')) sendBytes(socket, Number.parseInt(request.slice(13), 10));
      else if (request.startsWith('POST')) {
        body = Number(/content-length: (\d+)/iu.exec(request)?.[1] ?? 0);
        stall = Number(/\?stall=(\d+)/u.exec(request)?.[1] ?? 0);
        stallAt = stall > 0 ? body * 0.75 : -1;
        const early = head.length;
        head = '';
        takeBody(early);
      } else if (request.includes('Connection: close')) socket.end(SMALL);
      else socket.write(SMALL);
    }
  });
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, serve);
server.listen({ port: Number(process.argv[2] ?? 0), backlog: 4096 }, () => process.stdout.write('listens\n'));
process.on('SIGTERM', () => process.exit(0));
