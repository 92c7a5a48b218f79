/**
 * A throw-away world for tests: one process (`unshare`) that owns network, mount and PID namespaces, and a user namespace
 * when the tests do not run as root. When it ends, by SIGKILL or because the test process died, the kernel removes all of
 * it: processes, interfaces, rules, mounts.
 *
 *     const world = await World.create();
 *     const pod = await world.namespace('pod');
 *     await world.join({ namespace: world.root, address: '10.0.0.1/24' }, { namespace: pod, address: '10.0.0.2/24' });
 *     await pod.run('sh', ['init-container/redirect.sh']);
 *     const socket = await world.root.connect({ host: '10.0.0.2', port: 80 });   // a real socket, in this process
 *     await world.close();
 */
import { Socket as DatagramSocket } from 'node:dgram';
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Server, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { requireProgram } from '../../src/platform/programs.ts';
import type { AgentAnswer, AgentRequest } from './agent.ts';

const agentPath = fileURLToPath(new URL('agent.ts', import.meta.url));
const isRoot = process.getuid?.() === 0;
/** node_modules/.bin has an unrelated `nft`. */
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** How a command ended. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** The world, and its first network namespace as `root`. */
export class World implements AsyncDisposable {
  readonly root: Namespace;
  /** Its first process, as this process sees it. */
  readonly pid: number;
  readonly #outer: ChildProcess;
  readonly #namespaces: Namespace[] = [];
  #links = 0;

  private constructor(outer: ChildProcess, pid: number) {
    this.#outer = outer;
    this.pid = pid;
    const enter = ['--target', String(pid), ...(isRoot ? [] : ['--user', '--preserve-credentials']), '--mount', '--pid', '--net', '--'];
    this.root = new Namespace([requireProgram('nsenter', 'util-linux'), ...enter]);
    this.#namespaces.push(this.root);
  }

  /** Rejects with what `unshare` says, where namespaces are forbidden. */
  static async create(): Promise<World> {
    const user = isRoot ? [] : ['--user', '--map-root-user'];
    const flags = [...user, '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    // Its first process ends with us: it waits for a reader of our end of a pipe. A shell that waits reaps what has lost its parent, as init does.
    const outer = spawn(
      requireProgram('unshare', 'util-linux'),
      [
        ...flags,
        'sh',
        '-c',
        'mount -t tmpfs tmpfs /run && echo ready && exec 3<&0 && { cat <&3 >/dev/null 3<&- & } && exec 3<&- 0</dev/null && wait',
      ],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { PATH: systemPath },
      },
    );
    let problem = '';
    outer.stderr.on('data', (chunk: Buffer) => (problem += chunk.toString()));
    outer.stdin.on('error', () => undefined);
    const ready = once(outer.stdout, 'data').then(() => true);
    if (!(await Promise.race([ready, once(outer, 'exit').then(() => false)]))) throw new Error(`no namespaces: ${problem}`);
    const pid = Number(readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'utf8').trim());
    const world = new World(outer, pid);
    try {
      await world.root.run('ip', ['link', 'set', 'lo', 'up']);
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** One more network namespace, with `lo` up. */
  async namespace(name: string): Promise<Namespace> {
    await this.root.run('ip', ['netns', 'add', name]);
    const namespace = new Namespace([...this.root.prefix, requireProgram('nsenter', 'util-linux'), `--net=/run/netns/${name}`, '--']);
    this.#namespaces.push(namespace);
    await namespace.run('ip', ['link', 'set', 'lo', 'up']);
    return namespace;
  }

  /** Joins two namespaces by a veth pair, each end with its address (`10.0.0.1/24`). */
  async join(...ends: readonly [LinkEnd, LinkEnd]): Promise<void> {
    const [first, second] = [`link${this.#links}`, `link${this.#links + 1}`];
    this.#links += 2;
    await this.root.run('ip', ['link', 'add', first, 'type', 'veth', 'peer', 'name', second]);
    for (const [index, { namespace, address }] of ends.entries()) {
      const device = index === 0 ? first : second;
      const name = namespace.name;
      if (name !== undefined) await this.root.run('ip', ['link', 'set', device, 'netns', name]);
      await namespace.run('ip', ['address', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : [])]);
      await namespace.run('ip', ['link', 'set', device, 'up']);
    }
  }

  /** Ends every process in it and waits for that; closes the sockets and servers that its namespaces made. */
  async close(): Promise<void> {
    for (const namespace of this.#namespaces) namespace.disconnect();
    if (this.#outer.exitCode !== null || this.#outer.signalCode !== null) return;
    const exited = once(this.#outer, 'exit');
    this.#outer.kill('SIGKILL');
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export interface LinkEnd {
  readonly namespace: Namespace;
  readonly address: string;
}

/** A network namespace of the world: commands and sockets in it. */
export class Namespace {
  readonly prefix: readonly string[];
  /** As `ip netns` knows it; undefined for the world's first one. */
  readonly name: string | undefined;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #sockets = new Set<Socket>();
  readonly #servers = new Set<Server>();
  readonly #datagrams = new Set<DatagramSocket>();
  #agent: ChildProcess | undefined;
  #requests = 0;

  constructor(prefix: readonly string[]) {
    this.prefix = prefix;
    this.name = prefix
      .find((word) => word.startsWith('--net='))
      ?.split('/')
      .at(-1);
  }

  /** Starts a program; `PATH` has the system's folders only. */
  spawn(program: string, parameters: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [enter = '', ...words] = this.prefix;
    return spawn(enter, [...words, program, ...parameters], { ...options, env: { PATH: systemPath, ...options.env } });
  }

  /** Runs a program to its end, whatever its exit code. */
  async attempt(program: string, parameters: readonly string[], { environment, input }: RunOptions = {}): Promise<Outcome> {
    const child = this.spawn(program, parameters, { stdio: 'pipe', ...(environment === undefined ? {} : { env: environment }) });
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
    await once(child, 'close');
    return { code: child.exitCode, stdout, stderr };
  }

  /** Runs a program; answers its standard output. Rejects when its exit code is not 0. */
  async run(program: string, parameters: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(program, parameters, options);
    if (code !== 0) throw new Error(`${program} ${parameters.join(' ')}: exit code ${code}: ${stderr}`);
    return stdout;
  }

  /** A connection made in this namespace: `allowHalfOpen`, nothing read. Rejects with the system's error code as message. */
  async connect(to: { readonly host: string; readonly port: number; readonly localAddress?: string }): Promise<Socket> {
    const handle = await this.#ask({ id: (this.#requests += 1), kind: 'connect', ...to });
    if (!(handle instanceof Socket)) throw new Error('the agent sent no socket');
    handle.allowHalfOpen = true;
    this.#own(handle);
    return handle;
  }

  /** A server that listens in this namespace; `allowHalfOpen` is set for its connections. */
  async listen(on: { readonly host: string; readonly port: number }): Promise<Server> {
    const handle = await this.#ask({ id: (this.#requests += 1), kind: 'listen', ...on });
    if (!(handle instanceof Server)) throw new Error('the agent sent no server');
    Object.assign(handle, { allowHalfOpen: true });
    this.#servers.add(handle);
    handle.on('connection', (socket: Socket) => this.#own(socket));
    return handle;
  }

  /** A UDP socket that is bound in this namespace. */
  async datagrams(on: { readonly host: string; readonly port?: number }): Promise<DatagramSocket> {
    const handle = await this.#ask({ id: (this.#requests += 1), kind: 'datagrams', port: 0, ...on });
    if (!(handle instanceof DatagramSocket)) throw new Error('the agent sent no UDP socket');
    this.#datagrams.add(handle);
    handle.once('close', () => this.#datagrams.delete(handle));
    return handle;
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  /** Ends the agent, and closes the sockets and servers that it made. */
  disconnect(): void {
    for (const socket of this.#sockets) socket.on('error', () => undefined).destroy();
    for (const server of this.#servers) server.close();
    for (const datagrams of this.#datagrams) datagrams.close();
    if (this.#agent?.connected === true) this.#agent.disconnect();
  }

  async #ask(request: AgentRequest): Promise<unknown> {
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(request.id, waiting);
    this.#agent ??= this.#startAgent();
    this.#agent.send(request);
    return waiting.promise;
  }

  #startAgent(): ChildProcess {
    const agent = this.spawn(process.execPath, [agentPath], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    agent.on('message', ({ id, error }: AgentAnswer, handle: unknown) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(handle);
      else waiting?.reject(new Error(error));
    });
    agent.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the agent of the namespace has ended'));
    });
    return agent;
  }
}
