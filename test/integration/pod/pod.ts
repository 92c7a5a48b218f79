import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { messageOf, systemCode } from '../../../src/platform/errors.ts';
import { connectSession, newSessionId, type IncomingStream, type LocalHello, type Session } from '../../../src/tunnel/index.ts';
import { World, type Namespace } from '../../harness/namespaces.ts';

export const kpeering = fileURLToPath(new URL('../../../bin/kpeering.js', import.meta.url));
export const redirect = fileURLToPath(new URL('../../../init-container/redirect.sh', import.meta.url));
export const nodeAddress = '10.77.0.1';
export const podAddress = '10.77.0.2';
const patience = 20_000;

/** A pod with the rules and a sidecar, and the node that it runs on, in a world of their own. */
export class Pod implements AsyncDisposable {
  readonly world: World;
  readonly node: Namespace;
  readonly namespace: Namespace;
  #sidecar: Sidecar | undefined;

  private constructor(world: World, namespace: Namespace) {
    this.world = world;
    this.node = world.root;
    this.namespace = namespace;
  }

  /** The namespaces only. */
  static async bare(): Promise<Pod> {
    const world = await World.create();
    try {
      const namespace = await world.namespace('pod');
      await world.join({ namespace: world.root, address: `${nodeAddress}/24` }, { namespace, address: `${podAddress}/24` });
      return new Pod(world, namespace);
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** With rules and a sidecar that is ready. */
  static async start(flags: readonly string[] = []): Promise<Pod> {
    const pod = await Pod.bare();
    try {
      await pod.namespace.run('sh', [redirect]);
      pod.#sidecar = await Sidecar.start(pod.namespace, flags);
      return pod;
    } catch (error) {
      await pod.close();
      throw error;
    }
  }

  get sidecar(): Sidecar {
    if (this.#sidecar === undefined) throw new Error('the pod has no sidecar');
    return this.#sidecar;
  }

  /** A caller's connection from outside the pod. */
  async call(port: number): Promise<Socket> {
    return this.node.connect({ host: podAddress, port });
  }

  /** An app in the pod. */
  async serve(port: number, onConnection: (socket: Socket) => void, host = '0.0.0.0'): Promise<Server> {
    const server = await this.namespace.listen({ host, port });
    server.on('connection', (socket: Socket) => {
      socket.on('error', () => undefined);
      onConnection(socket);
    });
    return server;
  }

  /** A laptop's session; `id` for the reconnects of one kpctl. */
  async laptop(incoming: (stream: IncomingStream) => void = refuse, hello: Partial<LocalHello> = {}): Promise<Laptop> {
    let transport: Socket | undefined;
    const session = await connectSession(
      {
        description: 'the loopback of the pod',
        connect: async () => (transport = await this.namespace.connect({ host: '127.0.0.1', port: 15_310 })),
      },
      { id: newSessionId(), role: 'laptop', software: '0.1.0', name: 'alice@mbp', user: 'alice', ...hello },
      { incoming, request: async () => null, notified: () => undefined },
    );
    return new Laptop(session, transport);
  }

  /** `/readyz`, asked from the node: status and body. */
  async readiness(): Promise<string> {
    const socket = await this.call(15_320);
    socket.write('GET /readyz HTTP/1.0\r\n\r\n');
    const text = await textOf(socket);
    return `${text.split(' ')[1]} ${text.split('\r\n\r\n')[1]?.trim()}`;
  }

  async close(): Promise<void> {
    await this.world.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function refuse(stream: IncomingStream): void {
  stream.refuse('refused', 'nothing listens here');
}

/** A laptop's end of a tunnel, made by the test. */
export class Laptop {
  readonly session: Session;
  readonly #transport: Socket | undefined;

  constructor(session: Session, transport: Socket | undefined) {
    this.session = session;
    this.#transport = transport;
  }

  async claim(port: number): Promise<unknown> {
    return this.session.request('claim', { protocol: 'tcp', port });
  }

  /** As SIGKILL of kpctl does: the transport breaks without a goodbye. The pod has heard us at this moment. */
  async die(): Promise<void> {
    await this.session.request('claims', {});
    this.#transport?.resetAndDestroy();
    await this.session.ended;
  }
}

/** `kpeering sidecar` as a process. */
export class Sidecar {
  readonly process: ChildProcess;
  readonly #lines: string[] = [];
  readonly #watchers = new Set<() => void>();
  /** Its exit code. */
  readonly exited: Promise<number | null>;

  private constructor(child: ChildProcess) {
    this.process = child;
    this.exited = once(child, 'close').then(() => child.exitCode);
    let rest = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      this.#lines.push(...lines);
      for (const watch of this.#watchers) watch();
    });
  }

  static async start(namespace: Namespace, flags: readonly string[]): Promise<Sidecar> {
    const child = namespace.spawn(process.execPath, [kpeering, 'sidecar', ...flags], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { POD_NAMESPACE: 'shop', POD_NAME: 'web-7d9', KPEERING_LOG: 'debug' },
    });
    const sidecar = new Sidecar(child);
    await sidecar.logs('REDIRECT on');
    return sidecar;
  }

  /** Resolves with the first line of its log, past or future, that has `text`. */
  async logs(text: string): Promise<string> {
    const found = (): string | undefined => this.#lines.find((line) => line.includes(text));
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const look = (): void => {
      const line = found();
      if (line !== undefined) resolve(line);
    };
    const timer = setTimeout(() => reject(new Error(`the sidecar did not say "${text}": ${this.#lines.join('\n')}`)), patience);
    this.#watchers.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#watchers.delete(look);
    }
  }

  /** SIGTERM to the sidecar itself; nsenter is between, and passes no signals on. */
  async terminate(namespace: Namespace): Promise<void> {
    await namespace.run('sh', [
      '-c',
      `kill -TERM $(grep -l sidecar /proc/[0-9]*/cmdline | while read -r file; do
      pid=\${file#/proc/}; pid=\${pid%/cmdline}; [ "$(readlink /proc/$pid/exe)" = "${process.execPath}" ] && echo $pid; done)`,
    ]);
  }
}

/** All that comes until the far end half-closes. Rejects when it is reset. */
export async function textOf(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) text += String(chunk);
  return text;
}

/** The error code with which a connection ends, or with which it is not made. */
export async function failureOf(connection: Socket | Promise<Socket>): Promise<string> {
  let socket: Socket;
  try {
    socket = await connection;
  } catch (error) {
    return messageOf(error);
  }
  const { promise, resolve } = Promise.withResolvers<string>();
  socket.once('error', (error) => resolve(systemCode(error) ?? error.message));
  socket.once('close', () => resolve('closed without an error'));
  if (socket.destroyed) resolve(systemCode(socket.errored) ?? 'closed without an error');
  socket.resume();
  return promise;
}

/** Sends what it got back, in capitals, once the caller has half-closed. */
export function shout(socket: Socket): void {
  void textOf(socket).then((text) => socket.end(text.toUpperCase()));
}
