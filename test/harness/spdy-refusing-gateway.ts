import { readFileSync, mkdtempSync, writeFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { request as forward, type RequestOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { parse, stringify } from 'yaml';
import { z } from 'zod';

/** A gateway in front of the API server of a kubeconfig. */
export interface Gateway extends AsyncDisposable {
  /** The way through it, as its user. */
  readonly kubeconfig: string;
  /** The protocols of the upgrades that it was asked for. */
  readonly upgrades: readonly string[];
}

const kubeconfigSchema = z.object({
  'current-context': z.string(),
  contexts: z.array(z.object({ name: z.string(), context: z.looseObject({ cluster: z.string(), user: z.string() }) })),
  clusters: z.array(z.object({ name: z.string(), cluster: z.object({ server: z.string(), 'certificate-authority-data': z.string() }) })),
  users: z.array(
    z.object({
      name: z.string(),
      user: z.looseObject({ 'client-certificate-data': z.string().optional(), 'client-key-data': z.string().optional() }),
    }),
  ),
});

/**
 * Starts a gateway that speaks HTTP on 127.0.0.1, ends TLS towards the API server with the kubeconfig's client certificate (its token comes
 * from the caller), and answers every upgrade but WebSocket's by a page with 403, as some gateways do.
 */
export async function refuseSpdy(kubeconfigPath: string): Promise<Gateway> {
  const kubeconfig = kubeconfigSchema.parse(parse(readFileSync(kubeconfigPath, 'utf8')));
  const context = kubeconfig.contexts.find(({ name }) => name === kubeconfig['current-context'])?.context;
  const cluster = kubeconfig.clusters.find(({ name }) => name === context?.cluster)?.cluster;
  const user = kubeconfig.users.find(({ name }) => name === context?.user)?.user;
  if (context === undefined || cluster === undefined || user === undefined) throw new Error(`${kubeconfigPath}: no current context`);
  const pem = (text: string | undefined): Buffer | undefined => (text === undefined ? undefined : Buffer.from(text, 'base64'));
  const target = new URL(cluster.server);
  const upgrades: string[] = [];
  const options = (request: IncomingMessage): RequestOptions => ({
    host: target.hostname,
    port: target.port,
    ca: pem(cluster['certificate-authority-data']),
    cert: pem(user['client-certificate-data']),
    key: pem(user['client-key-data']),
    method: request.method,
    path: request.url,
    headers: { ...request.headers, host: target.host },
    agent: false,
  });
  const server = createServer((request, response) => {
    const onward = forward(options(request), (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  const open = new Set<Duplex>();
  server.on('upgrade', (request, socket: Duplex, head: Buffer) => {
    open.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => open.delete(socket));
    upgrades.push(request.headers.upgrade ?? '');
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
      socket.resume();
      socket.end(
        'HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<html>no SPDY</html>',
      );
      return;
    }
    const onward = forward(options(request));
    onward.on('error', () => socket.destroy());
    onward.on('response', (answer) => {
      socket.write(headOf(answer));
      answer.pipe(socket);
    });
    onward.on('upgrade', (answer, far, first: Buffer) => {
      socket.write(headOf(answer));
      socket.write(first);
      far.write(head);
      far.pipe(socket).pipe(far);
      far.on('error', () => socket.destroy()).on('close', () => socket.destroy());
      socket.on('close', () => far.destroy());
    });
    onward.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  const folder = mkdtempSync(join(tmpdir(), 'kpeering-gateway-'));
  const path = join(folder, 'kubeconfig');
  const through = {
    ...kubeconfig,
    clusters: [{ name: context.cluster, cluster: { server: `http://127.0.0.1:${address.port}` } }],
  };
  writeFileSync(path, stringify(through), { mode: 0o600 });
  return {
    kubeconfig: path,
    upgrades,
    [Symbol.asyncDispose]: async () => {
      rmSync(folder, { recursive: true });
      for (const socket of open) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function headOf(answer: IncomingMessage): string {
  const lines = [];
  for (let index = 0; index < answer.rawHeaders.length; index += 2)
    lines.push(`${answer.rawHeaders[index]}: ${answer.rawHeaders[index + 1]}`);
  return `HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n${lines.join('\r\n')}\r\n\r\n`;
}
