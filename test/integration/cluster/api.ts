import { createServer as createHttpServer, type IncomingMessage, Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { connectCluster, type ConnectOptions } from '../../../src/cluster/connect.ts';
import type { Cluster } from '../../../src/cluster/types.ts';

export interface TestApi {
  readonly url: string;
  readonly port: number;
  readonly server: Server;
  /** Connections that were ever accepted. */
  readonly connections: Socket[];
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTP(S) server on 127.0.0.1 that the test's end stops. */
export async function startApi(t: ExecutionContext, handler: Handler, tls?: ServerOptions): Promise<TestApi> {
  const server = tls === undefined ? createHttpServer(handler) : createHttpsServer(tls, handler);
  const port = await listen(t, server);
  const connections: Socket[] = [];
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    connections.push(socket);
    socket.on('error', () => {});
  });
  t.teardown(() => server.closeAllConnections());
  return { url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, port, server, connections };
}

export async function listen(t: ExecutionContext, server: NetServer): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.teardown(async () => {
    await new Promise((resolve) => {
      server.close(resolve);
      if (server instanceof Server) server.closeAllConnections();
    });
  });
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return address.port;
}

export function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kpeering-cluster-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A cluster by a kubeconfig with this one cluster and user; closed at the test's end. */
export async function clusterOf(t: ExecutionContext, cluster: object, user: object = {}, options: ConnectOptions = {}): Promise<Cluster> {
  const file = join(temporaryFolder(t), 'config');
  writeFileSync(
    file,
    JSON.stringify({
      'current-context': 'test',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'test', context: { cluster: 'c', user: 'u', namespace: 'shop' } }],
    }),
  );
  const connected = await connectCluster({ kubeconfig: file, ...options });
  t.teardown(async () => await connected.close());
  return connected;
}

export function json(response: ServerResponse, value: object, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

export const emptyList = { metadata: { resourceVersion: '1' }, items: [] };

export function configMap(name: string, version: number, data: Record<string, string> = {}): object {
  return { metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: String(version) }, data };
}
