import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server as HttpsServer } from 'node:https';
import type { Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { CHANNEL_PROTOCOL } from '../../cluster/websocket/channels.ts';
import { messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { LabObject } from '../objects/schemas.ts';
import { parseFieldSelector, parseLabelSelector, type Matcher } from '../objects/selectors.ts';
import { apiVersionOf, type AnyCollection, type Store } from '../objects/store.ts';
import { reviewAccess } from './access-review.ts';
import { discovery } from './discovery.ts';
import { acceptSpdy, serveWebSocketPortForward, type PortForwardTarget } from './port-forward.ts';
import { ApiError, noSuchPath, notFound } from './status.ts';
import { authorize, type Attributes, type User, type Users } from './users.ts';
import { startWatch, type RunningWatch } from './watch.ts';

export interface ApiServerOptions {
  readonly store: Store;
  readonly users: Users;
  /** A connection to a port of a pod's loopback. Throws an Error with a `code`, or an {@link ApiError} if the pod does not run. */
  readonly connectToPod: (namespace: string, pod: string, port: number) => Socket;
  /** Deletes an object as `kubectl delete` does. */
  readonly remove: (collection: AnyCollection, namespace: string, name: string) => void;
  /** PEM, as node:tls takes it. */
  readonly certificate: { readonly key: string; readonly cert: string };
  readonly bookmarkMilliseconds: number;
  readonly log: Logger;
}

/** One resource's request, taken apart. */
interface ResourceRequest {
  readonly collection: AnyCollection;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

/** The emulated API server: as much of Kubernetes' API as kpctl, and kubectl's reading commands, use. */
export class ApiServer implements Closeable {
  readonly #options: ApiServerOptions;
  readonly #servers: HttpsServer[] = [];
  readonly #watches = new Set<RunningWatch>();
  readonly #upgraded = new Set<Duplex>();
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    handleProtocols: (offered) => offered.has(CHANNEL_PROTOCOL) && CHANNEL_PROTOCOL,
  });

  constructor(options: ApiServerOptions) {
    this.#options = options;
  }

  /** Listens at an address, or takes a listener over. */
  async listen(where: { readonly host: string; readonly port: number } | Server): Promise<void> {
    const server = createServer({ ...this.#options.certificate, keepAliveTimeout: 60_000 }, (request, response) =>
      this.#answer(request, response),
    );
    server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head));
    server.on('clientError', (_error, socket) => socket.destroy());
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen('host' in where ? { host: where.host, port: where.port } : where, resolve);
    });
    this.#servers.push(server);
  }

  /** Forgets all history, and ends the watches that run, both with 410 Gone. */
  expire(): void {
    for (const collection of this.#options.store.collections) collection.compact();
    for (const watch of this.#watches) watch.expire();
  }

  /** Cuts every connection: requests, watches and port-forwards, as a restart of the API server does. */
  disconnect(): void {
    for (const socket of this.#upgraded) socket.destroy();
    for (const server of this.#servers) server.closeAllConnections();
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch.end();
    const closed = this.#servers.splice(0).map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        }),
    );
    for (const socket of this.#upgraded) socket.destroy();
    await Promise.all(closed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    request.on('error', () => undefined);
    request.resume();
    try {
      this.#dispatch(request, response);
    } catch (error) {
      this.#failed(response, error);
    }
  }

  #failed(response: ServerResponse, error: unknown): void {
    const status = error instanceof ApiError ? error : new ApiError(500, 'InternalError', messageOf(error));
    if (!(error instanceof ApiError)) this.#options.log.error({ err: error }, 'the API');
    send(response, status.code, status);
  }

  #dispatch(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://api');
    const path = url.pathname.replace(/(?<=.)\/$/, '');
    if (['/readyz', '/livez', '/healthz'].includes(path)) {
      response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
      return;
    }
    const { users, store } = this.#options;
    if (path === '/version') {
      send(response, 200, { major: '1', minor: '35', gitVersion: 'v1.35.0-lab', platform: 'linux/amd64' });
      return;
    }
    const user = users.authenticate(request.headers);
    if (path === '/apis/authentication.k8s.io/v1/selfsubjectreviews' && request.method === 'POST') {
      const userInfo = { username: user.name, groups: user.groups, ...(user.uid !== undefined && { uid: user.uid }) };
      send(response, 201, { kind: 'SelfSubjectReview', apiVersion: 'authentication.k8s.io/v1', metadata: {}, status: { userInfo } });
      return;
    }
    if (path === '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews' && request.method === 'POST') {
      void reviewAccess(request, user).then(
        (review) => send(response, 201, review),
        (error: unknown) => this.#failed(response, error),
      );
      return;
    }
    const described = request.method === 'GET' ? discovery(path, store.collections) : undefined;
    if (described !== undefined) send(response, 200, described);
    else this.#resource(request, response, user, url, path);
  }

  #resource(request: IncomingMessage, response: ServerResponse, user: User, url: URL, path: string): void {
    const { method } = request;
    const target = this.#locate(path);
    const { collection, name, namespace, subresource } = target;
    const watched = url.searchParams.get('watch');
    const watching = name === undefined && watched !== null && !['0', 'false'].includes(watched);
    const verb =
      method === 'GET'
        ? name !== undefined
          ? 'get'
          : watching
            ? 'watch'
            : 'list'
        : method === 'DELETE' && name !== undefined
          ? 'delete'
          : undefined;
    if (subresource !== undefined || verb === undefined) {
      const attempted =
        subresource === 'portforward' ? 'Upgrade request required' : 'the server does not allow this method on the requested resource';
      throw subresource === 'portforward' ? new ApiError(400, 'BadRequest', attempted) : new ApiError(405, 'MethodNotAllowed', attempted);
    }
    const { group, plural } = collection.kind;
    authorize(user, { verb, group, resource: plural, namespace, name });
    if (name !== undefined) {
      const object = this.#existing(target, name);
      if (verb === 'delete') this.#options.remove(collection, namespace ?? '', name);
      send(response, 200, collection.get(namespace ?? '', name) ?? object);
      return;
    }
    const matches = matcherOf(url, namespace);
    if (watching) this.#watch(url, collection, matches, response);
    else {
      const { kind } = collection.kind;
      const items = collection.list().filter(matches);
      send(response, 200, {
        kind: `${kind}List`,
        apiVersion: apiVersionOf(collection.kind),
        metadata: { resourceVersion: String(collection.version) },
        items,
      });
    }
  }

  #watch(url: URL, collection: AnyCollection, matches: Matcher, response: ServerResponse): void {
    const text = url.searchParams.get('resourceVersion') ?? '';
    const timeout = Number(url.searchParams.get('timeoutSeconds') ?? 0);
    const watch = startWatch(
      {
        collection,
        matches,
        version: text === '' || text === '0' ? undefined : Number(text),
        bookmarks: ['true', '1'].includes(url.searchParams.get('allowWatchBookmarks') ?? ''),
        // The API server's own choice is 30 to 60 minutes (min-request-timeout).
        timeoutSeconds: timeout > 0 ? timeout : 1800,
        bookmarkMilliseconds: this.#options.bookmarkMilliseconds,
      },
      response,
      (ended) => void this.#watches.delete(ended),
    );
    if (!response.writableEnded) this.#watches.add(watch);
  }

  #existing({ collection, namespace }: ResourceRequest, name: string): LabObject {
    const object = collection.get(namespace ?? '', name);
    const { group, plural } = collection.kind;
    if (object === undefined) throw notFound(group === '' ? plural : `${plural}.${group}`, name);
    return object;
  }

  /** `/apis/apps/v1/namespaces/shop/deployments/web/scale`. Throws 404 for what is no resource. */
  #locate(path: string): ResourceRequest {
    const parts = path.split('/').slice(1).map(decodeURIComponent);
    const group = parts[0] === 'api' ? '' : parts[0] === 'apis' ? parts[1] : undefined;
    if (group === undefined) throw noSuchPath();
    const [version, ...rest] = parts.slice(group === '' ? 1 : 2);
    const inNamespace = rest[0] === 'namespaces' && rest.length > 2;
    const [plural, name, subresource] = inNamespace ? rest.slice(2) : rest;
    const collection = this.#options.store.collections.find(
      ({ kind }) => kind.group === group && kind.version === version && kind.plural === plural,
    );
    if (collection === undefined || (inNamespace && !collection.kind.namespaced)) throw noSuchPath();
    return { collection, namespace: inNamespace ? rest[1] : undefined, name, subresource };
  }

  async #overWebSocket(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    ports: string | null,
    target: PortForwardTarget,
  ): Promise<void> {
    const port = Number(ports);
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new ApiError(400, 'BadRequest', `query parameter "port" is invalid: ${ports}`);
    const opened = await new Promise<WebSocket>((resolve, reject) => {
      socket.once('close', () => reject(new ApiError(400, 'BadRequest', 'the handshake failed')));
      this.#webSockets.handleUpgrade(request, socket, head, resolve);
    });
    await serveWebSocketPortForward(opened, port, target);
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy());
    this.#upgraded.add(socket);
    socket.once('close', () => void this.#upgraded.delete(socket));
    try {
      const { connectToPod, log } = this.#options;
      const user = this.#options.users.authenticate(request.headers);
      const url = new URL(request.url ?? '/', 'http://api');
      const located = this.#locate(url.pathname);
      const { collection, namespace = '', name = '', subresource } = located;
      const { group, plural } = collection.kind;
      if (subresource !== 'portforward' || plural !== 'pods') throw noSuchPath();
      const webSocket = request.headers.upgrade?.toLowerCase() === 'websocket';
      const attributes = { group, resource: plural, subresource, namespace, name };
      authorize(user, { verb: request.method === 'GET' ? 'get' : 'create', ...attributes });
      if (webSocket) authorizeToCreate(user, attributes);
      const { uid } = this.#existing(located, name).metadata;
      const target = { pod: name, uid, log, connect: (port: number) => connectToPod(namespace, name, port) };
      if (webSocket) await this.#overWebSocket(request, socket, head, url.searchParams.get('ports'), target);
      else await acceptSpdy(request, socket, head, target);
    } catch (error) {
      const status = error instanceof ApiError ? error : new ApiError(500, 'InternalError', messageOf(error));
      const body = JSON.stringify(status);
      socket.end(
        `HTTP/1.1 ${status.code} ${status.reason}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    }
  }
}

/** Since 1.35 a WebSocket's GET must be allowed to create, too: a refusal of that gives no reason. */
function authorizeToCreate(user: User, attributes: Omit<Attributes, 'verb'>): void {
  try {
    authorize(user, { verb: 'create', ...attributes });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    throw new ApiError(error.code, error.reason, `${attributes.resource} "${attributes.name}" is forbidden: `, error.details);
  }
}

function matcherOf(url: URL, namespace: string | undefined): Matcher {
  try {
    const labels = parseLabelSelector(url.searchParams.get('labelSelector') ?? '');
    const fields = parseFieldSelector(url.searchParams.get('fieldSelector') ?? '');
    return (object) => (namespace === undefined || object.metadata.namespace === namespace) && labels(object) && fields(object);
  } catch (error) {
    throw new ApiError(400, 'BadRequest', messageOf(error));
  }
}

function send(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
