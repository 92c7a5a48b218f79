import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ClaimTarget } from '../../../src/claims/messages.ts';
import { messageOf, systemCode } from '../../../src/platform/errors.ts';
import {
  connectSession,
  newSessionId,
  type IncomingStream,
  type LocalHello,
  type Session,
  type SessionHandlers,
} from '../../../src/tunnel/index.ts';
import { LogLines } from '../../harness/log-lines.ts';
import { World, type Namespace } from '../../harness/namespaces.ts';

export const kpeering = fileURLToPath(new URL('../../../bin/kpeering.js', import.meta.url));
export const redirect = fileURLToPath(new URL('../../../init-container/redirect.sh', import.meta.url));
export const nodeAddress = '10.77.0.1';
export const podAddress = '10.77.0.2';
export const nodeAddress6 = 'fd77::1';
export const podAddress6 = 'fd77::2';
/** tproxy mode, and the sidecar known by a mark: its group cannot exist in a user namespace. */
export const tproxy = { KPEERING_MODE: 'tproxy', KPEERING_EXEMPT_MARK: '0x5157' } as const;

/** A pod with the rules and a sidecar, and the node that it runs on, in a world of their own. */
export class Pod implements AsyncDisposable {
  readonly world: World;
  readonly node: Namespace;
  readonly namespace: Namespace;
  /** A folder that the init container and the sidecar share. */
  readonly shared: string;
  #environment: Readonly<Record<string, string>> = {};
  #flags: readonly string[] = [];
  #wrapper: readonly string[] = [];
  #command: Command = 'sidecar';
  #sidecar: Sidecar | undefined;

  private constructor(world: World, namespace: Namespace) {
    this.shared = mkdtempSync(join(tmpdir(), 'kpeering-pod-'));
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
      await world.root.run('ip', ['address', 'add', `${nodeAddress6}/64`, 'dev', 'link0', 'nodad']);
      await namespace.run('ip', ['address', 'add', `${podAddress6}/64`, 'dev', 'link1', 'nodad']);
      return new Pod(world, namespace);
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /**
   * With rules and a sidecar that is ready. The environment is the init container's and the sidecar's; `wrapper` is a program, with
   * its parameters, that starts the sidecar.
   */
  static async start(
    flags: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
    wrapper: readonly string[] = [],
  ): Promise<Pod> {
    const pod = await Pod.bare();
    try {
      pod.#wrapper = wrapper;
      pod.#environment =
        environment['KPEERING_MODE'] === undefined ? environment : { KPEERING_RULES_FILE: join(pod.shared, 'rules.json'), ...environment };
      pod.#flags = flags;
      await pod.namespace.run('sh', [redirect], { environment: pod.#environment });
      await pod.restart();
      return pod;
    } catch (error) {
      await pod.close();
      throw error;
    }
  }

  /** Without an init container: with `kpeering ephemeral`, which makes its rules itself. */
  static async ephemeral(flags: readonly string[] = [], environment: Readonly<Record<string, string>> = {}): Promise<Pod> {
    const pod = await Pod.bare();
    try {
      pod.#command = 'ephemeral';
      pod.#environment = { KPEERING_EXEMPT_MARK: tproxy.KPEERING_EXEMPT_MARK, ...environment };
      pod.#flags = flags;
      await pod.restart();
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

  /** Other rules, and the sidecar started anew with them. */
  async reconfigure(environment: Readonly<Record<string, string>>): Promise<void> {
    this.#environment = { KPEERING_RULES_FILE: join(this.shared, 'rules.json'), ...environment };
    await this.namespace.run('sh', [redirect], { environment: this.#environment });
    await this.restart();
  }

  /** Starts the sidecar, once more when there was one. */
  async restart(): Promise<void> {
    this.#sidecar = await Sidecar.start(this.namespace, this.#flags, this.#environment, this.#wrapper, this.#command);
  }

  /** A caller's connection from outside the pod. */
  async call(port: number, host = podAddress): Promise<Socket> {
    return this.node.connect({ host, port });
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
  async laptop(
    incoming: (stream: IncomingStream) => void = refuse,
    hello: Partial<LocalHello> = {},
    handlers: Pick<SessionHandlers, 'incomingAssociation'> = {},
  ): Promise<Laptop> {
    let transport: Socket | undefined;
    const notices: Notice[] = [];
    const session = await connectSession(
      {
        description: 'the loopback of the pod',
        connect: async () => (transport = await this.namespace.connect({ host: '127.0.0.1', port: 15_310 })),
      },
      { id: newSessionId(), role: 'laptop', software: '0.1.0', name: 'alice@mbp', user: 'alice', ...hello },
      { incoming, request: async () => null, notified: (method, parameters) => notices.push({ method, parameters }), ...handlers },
    );
    return new Laptop(session, transport, notices);
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
    rmSync(this.shared, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function refuse(stream: IncomingStream): void {
  stream.refuse('refused', 'nothing listens here');
}

export interface Notice {
  readonly method: string;
  readonly parameters: unknown;
}

/** A laptop's end of a tunnel, made by the test. */
export class Laptop {
  readonly session: Session;
  /** What the sidecar has told, in its order. */
  readonly notices: readonly Notice[];
  readonly #transport: Socket | undefined;

  constructor(session: Session, transport: Socket | undefined, notices: readonly Notice[]) {
    this.session = session;
    this.notices = notices;
    this.#transport = transport;
  }

  async claim(target: number | ClaimTarget): Promise<unknown> {
    return this.session.request('claim', typeof target === 'number' ? { protocol: 'tcp', port: target } : target);
  }

  async release(target: number | ClaimTarget): Promise<unknown> {
    return this.session.request('release', typeof target === 'number' ? { protocol: 'tcp', port: target } : target);
  }

  /** As SIGKILL of kpctl does: the transport breaks without a goodbye. The pod has heard us at this moment. */
  async die(): Promise<void> {
    await this.session.request('claims', {});
    this.#transport?.resetAndDestroy();
    await this.session.ended;
  }
}

/** How long a line of the sidecar's log is waited for, in milliseconds. */
const patience = 20_000;

type Command = 'sidecar' | 'ephemeral';

/** `kpeering sidecar`, or `ephemeral`, as a process. */
export class Sidecar {
  readonly process: ChildProcess;
  readonly #lines: LogLines;
  /** Its exit code. */
  readonly exited: Promise<number | null>;

  private constructor(child: ChildProcess) {
    this.process = child;
    this.exited = once(child, 'close').then(() => child.exitCode);
    this.#lines = new LogLines('the sidecar', child);
  }

  static async start(
    namespace: Namespace,
    flags: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    wrapper: readonly string[] = [],
    command: Command = 'sidecar',
  ): Promise<Sidecar> {
    const [program = '', ...parameters] = [...wrapper, process.execPath, kpeering, command, ...flags];
    const child = namespace.spawn(program, parameters, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { POD_NAMESPACE: 'shop', POD_NAME: 'web-7d9', KPEERING_LOG: 'debug', ...environment },
    });
    const sidecar = new Sidecar(child);
    await sidecar.logs('tunnel on');
    return sidecar;
  }

  /** Resolves with the first line of its log, past or future, that has `text`. */
  async logs(text: string): Promise<string> {
    return this.#lines.until(text, patience);
  }

  /** SIGTERM to the sidecar itself; nsenter is between, and passes no signals on. */
  async terminate(namespace: Namespace, signal = 'TERM'): Promise<void> {
    await namespace.run('sh', [
      '-c',
      `kill -${signal} $(grep -l -e sidecar -e ephemeral /proc/[0-9]*/cmdline | while read -r file; do
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
  // A caller that resets is not answered.
  textOf(socket).then(
    (text) => socket.end(text.toUpperCase()),
    () => undefined,
  );
}
