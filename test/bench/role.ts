/** A process of a benchmark: `role.ts ROLE TARGET-PORT` says the port that it listens on, and ends with its parent. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { SpdyConnection } from '../../src/cluster/spdy/connection.ts';
import { selfSigned } from '../../src/lab/api/certificate.ts';
import { answerDial, spliceStream } from '../../src/forwarder/index.ts';
import { acceptSession, connectSession, newSessionId, type SessionHandlers } from '../../src/tunnel/index.ts';
import { naiveFar, naiveNear } from './load/naive.ts';

const HOST = '127.0.0.1';
const hello = { role: 'laptop', software: 'bench', name: 'bench' } as const;

async function listen(handler: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, handler).listen(0, HOST);
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return address.port;
}

async function dial(port: number): Promise<Socket> {
  const socket = connect({ host: HOST, port, noDelay: true, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

function refuseAll(): SessionHandlers {
  return { incoming: (stream) => stream.refuse('unsupported', 'bench'), request: async () => null, notified: () => undefined };
}

/** Swallows what begins with `s`, echoes what begins with `e`, sends for ever after `d`; answers a message with the bytes swallowed so far. */
async function runSink(): Promise<number> {
  let bytes = 0;
  process.on('message', () => process.send?.(bytes));
  return listen((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', (first: Buffer) => {
      if (first[0] === 0x65) {
        socket.write(first);
        socket.pipe(socket);
        return;
      }
      if (first[0] === 0x64) {
        const chunk = Buffer.alloc(128 * 1024);
        const send = (): void => {
          while (socket.write(chunk));
        };
        socket.on('drain', send);
        send();
        return;
      }
      socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
      socket.on('end', () => socket.end());
    });
  });
}

/** One process that pipes. */
async function runRelay(target: number): Promise<number> {
  return listen((socket) => {
    const other = connect({ host: HOST, port: target, noDelay: true, allowHalfOpen: true });
    for (const end of [socket, other]) end.on('error', () => end.destroy());
    socket.pipe(other);
    other.pipe(socket);
  });
}

async function runPod(target: number): Promise<number> {
  return listen((socket) => {
    void acceptSession(
      socket,
      { ...hello, role: 'sidecar' },
      {
        ...refuseAll(),
        incoming: (stream) => void answerDial(stream, { address: HOST, port: target }),
      },
    );
  });
}

/** In the place of API server, kubelet and containerd: TLS and SPDY to the laptop, TCP to the pod. */
async function runApi(target: number): Promise<number> {
  const { key, certificate } = selfSigned('bench', [HOST]);
  const server = createTlsServer({ key, cert: certificate, noDelay: true, allowHalfOpen: true }, (socket) => {
    const connection = new SpdyConnection(socket, {
      role: 'server',
      onStream: (stream) => {
        const pod = connect({ host: HOST, port: target, noDelay: true, allowHalfOpen: true });
        connection.reply(stream);
        stream.pipe(pod).pipe(stream);
        stream.on('error', () => pod.destroy());
        pod.on('error', () => stream.destroy());
      },
    });
  }).listen(0, HOST);
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return address.port;
}

async function dialSpdy(port: number): Promise<Duplex> {
  // A benchmark on this machine: who answers is not in question.
  const socket = connectTls({ host: HOST, port, rejectUnauthorized: false });
  socket.setNoDelay(true);
  await once(socket, 'secureConnect');
  const stream = new SpdyConnection(socket, { role: 'client' }).openStream({});
  await stream.accepted;
  return stream;
}

async function runLaptop(connectTransport: () => Promise<Duplex>): Promise<number> {
  const session = await connectSession({ description: 'bench', connect: connectTransport }, { ...hello, id: newSessionId() }, refuseAll());
  return listen((socket) => {
    socket.pause();
    void session.open({ kind: 'dial', destination: { address: HOST, port: 1 } }).then(async (stream) => spliceStream(socket, stream));
  });
}

const roles = {
  sink: runSink,
  relay: runRelay,
  pod: runPod,
  api: runApi,
  laptop: async (target: number) => runLaptop(async () => dial(target)),
  'laptop-spdy': async (target: number) => runLaptop(async () => dialSpdy(target)),
  'naive-far': async (target: number) => listen(naiveFar(target)),
  'naive-near': async (target: number) => listen(naiveNear(target)),
} as const;

const role = process.argv[2];
if (role === undefined || !isRole(role)) throw new Error(`no role ${role}`);
process.on('disconnect', () => process.exit());
process.send?.(await roles[role](Number(process.argv[3])));

function isRole(name: string): name is keyof typeof roles {
  return name in roles;
}
