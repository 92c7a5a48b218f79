import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { ExecutionContext } from 'ava';
import { answerDial } from '../../../../../src/forwarder/index.ts';
import { FlowTable } from '../../../../../src/kpctl/flows/flow-table.ts';
import { Notices } from '../../../../../src/kpctl/links/notices.ts';
import { laptopAssociation } from '../../../../../src/kpctl/laptop/laptop-association.ts';
import { Dialler } from '../../../../../src/kpctl/run/proxy/dialler.ts';
import { ProxyNames, type SystemLookup } from '../../../../../src/kpctl/run/proxy/names.ts';
import { ProxyServer } from '../../../../../src/kpctl/run/proxy/proxy-server.ts';
import type { Resolve } from '../../../../../src/simulator/dns/index.ts';
import { CLASS_IN, encodeAnswer, errorAnswer, RCODE, TYPE } from '../../../../../src/simulator/dns/message.ts';
import { sessionPair } from '../../../tunnel/pair.ts';

/** Names of the cluster by their whole names: an address, or the name that a CNAME leads to. */
export type ClusterTable = Readonly<Record<string, string>>;

/** A resolver that knows these names of `cluster.local`, of which those that begin with "unsure." cannot be told. */
export function resolverOf(names: ClusterTable): Resolve {
  return (query) => {
    const { name, type } = query.question;
    if (name.startsWith('unsure.')) return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
    const found = names[name.toLowerCase()];
    if (found === undefined) return encodeAnswer(query, errorAnswer(RCODE.NXDOMAIN));
    const base = { name, class: CLASS_IN, ttl: 5 } as const;
    const six = found.includes(':');
    const fits = /^[\d.:a-f]+$/.test(found) ? type === (six ? TYPE.AAAA : TYPE.A) : true;
    const record = /^[\d.:a-f]+$/.test(found)
      ? ({ ...base, type: six ? TYPE.AAAA : TYPE.A, address: found } as const)
      : ({ ...base, type: TYPE.CNAME, domain: found } as const);
    return encodeAnswer(query, { ...errorAnswer(RCODE.NOERROR), answers: fits ? [record] : [] });
  };
}

export const search = ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'];

export interface ProxyStageOptions {
  readonly names?: ClusterTable;
  /** The port of 127.0.0.1 that stands for a destination in the cluster: `10.96.0.1:80`. Others are refused. */
  readonly cluster?: Readonly<Record<string, number>>;
  readonly lookup?: SystemLookup;
  readonly environment?: NodeJS.ProcessEnv;
}

/** A proxy whose tunnel ends in this process. Everything in 10.0.0.0/8 is the cluster's. */
export async function proxyStage(t: ExecutionContext, { names = {}, cluster = {}, lookup, environment = {} }: ProxyStageOptions = {}) {
  const asked: string[] = [];
  const { laptop } = await sessionPair(
    t,
    {},
    {
      incoming: (stream) => {
        const { address, port } = stream.request.destination;
        asked.push(`${address}:${port}`);
        const local = cluster[`${address}:${port}`];
        if (port === 9) stream.refuse('timeout', 'it did not answer');
        else void answerDial(stream, { address: '127.0.0.1', port: local ?? 1 });
      },
    },
  );
  const warnings: string[] = [];
  const flows = new FlowTable();
  const dialler = new Dialler({
    flows,
    names: new ProxyNames({ resolve: resolverOf(names), search, ...(lookup !== undefined && { lookup }) }),
    isCluster: (address) => address.startsWith('10.'),
    session: async () => laptop,
    notices: new Notices((line) => warnings.push(line)),
    environment,
  });
  const proxy = await ProxyServer.listen({ dialler, onAssociation: laptopAssociation });
  t.teardown(async () => await proxy.close());
  return { proxy, session: laptop, asked, warnings, flows };
}

/** A connection to the proxy, whose errors nobody minds. */
export async function dial(t: ExecutionContext, proxy: ProxyServer): Promise<Socket> {
  const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }).on('error', () => undefined);
  t.teardown(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

export function authorization(proxy: ProxyServer): string {
  return `Proxy-Authorization: Basic ${Buffer.from(`${proxy.access.user}:${proxy.access.password}`).toString('base64')}\r\n`;
}

export function portOf(server: { address(): string | AddressInfo | null }): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A server of bytes on 127.0.0.1. */
export async function tcpServer(t: ExecutionContext, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on('error', () => undefined));
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return portOf(server);
}

/** An HTTP server on 127.0.0.1, and how many connections it has been given. */
export async function httpServer(t: ExecutionContext, serve: RequestListener) {
  const counts = { connections: 0 };
  const server = createHttpServer(serve);
  server.on('connection', () => (counts.connections += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, port: portOf(server), counts };
}

/** What comes until a text has come, or the connection is over. */
export async function readUntil(socket: Socket, text: string | RegExp): Promise<string> {
  let all = '';
  const there = (): boolean => (typeof text === 'string' ? all.includes(text) : text.test(all));
  return await new Promise((resolve) => {
    const done = (): void => {
      socket.off('data', onData).off('close', done).off('end', done).pause();
      resolve(all);
    };
    const onData = (chunk: Buffer): void => {
      all += chunk.toString('latin1');
      if (there()) done();
    };
    socket.on('data', onData).on('close', done).on('end', done).resume();
  });
}

/** How a connection ends: `end`, or the code of its error. */
export async function endingOf(socket: Socket): Promise<string> {
  return await new Promise((resolve) => {
    socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    socket.on('end', () => resolve('end'));
    socket.on('close', () => resolve('closed'));
    socket.resume();
  });
}
