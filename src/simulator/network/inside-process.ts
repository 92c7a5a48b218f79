import { spawn, type ChildProcess } from 'node:child_process';
import { Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import { Server, Socket } from 'node:net';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { AbortOptions } from '../../platform/abort.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { descriptorOf } from '../../platform/libc.ts';
import type { Logger } from '../../platform/log.ts';
import { Capability } from '../../platform/namespaces.ts';
import { requireProgram } from '../../platform/programs.ts';
import { setUpFailure } from './failures.ts';
import { endProcessesIn, networkOf } from './inside/survivors.ts';
import type { FromInside, MountedVolume, SetUpStep, ToInside, VolumeMountRequest, WrittenFile } from './messages.ts';

/** The network's listening sockets, in this process's hands. */
export interface Listeners {
  readonly flows: readonly Server[];
  readonly dnsTcp: Server;
  readonly dnsUdp: DatagramSocket;
}

export interface InsideHandlers {
  readonly log: Logger;
  /** Messages that are not answers. */
  readonly onMessage: (message: Extract<FromInside, { type: 'started' | 'not-started' | 'exited' }>) => void;
  /** The helper has ended, whether it was asked to or not: nothing is told any more. */
  readonly onLost: (reason: string) => void;
}

/** Volumes of a pod, and where; see `messages.ts`. */
export interface VolumesToMount {
  readonly volumes: readonly MountedVolume[];
  readonly mounts: readonly VolumeMountRequest[];
  readonly keepVisible: readonly string[];
}

/** How long the helper has for what still runs inside (2 s between SIGTERM and SIGKILL), in milliseconds. */
const closeDeadline = 6000;

/** The helper process inside the private network (`inside/main.ts`), as kpctl sees it. */
export class InsideProcess {
  readonly #child: ChildProcess;
  readonly #handlers: InsideHandlers;
  readonly #userNamespace: boolean;
  readonly #exited: Promise<unknown>;
  readonly #listeners = new Map<string, Server | DatagramSocket>();
  readonly #answers = new Map<number, (message: FromInside | undefined, handle: unknown) => void>();
  #settleSetUp: ((failure?: Failure) => void) | undefined;
  #network: string | undefined;
  #stderr = '';
  #nextId = 0;
  #ended = false;
  #closing: Promise<void> | undefined;

  /** Starts the helper; `stdio` are the descriptors that COMMAND gets. Throws a Failure when a program is missing. */
  constructor(stdio: readonly [number, number, number], handlers: InsideHandlers) {
    this.#handlers = handlers;
    const unshare = requireProgram('unshare', 'util-linux');
    this.#userNamespace = !mayMakeNamespaces();
    const namespaces = this.#userNamespace ? ['--user', '--map-current-user', '--keep-caps', '--net', '--mount'] : ['--net', '--mount'];
    // From source the same file ends in .ts; nothing of Node's own warnings about that belongs to COMMAND's output.
    const program = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? 'inside/main.ts' : 'inside/main.js', import.meta.url));
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', program];
    this.#child = spawn(unshare, [...namespaces, '--', ...node], {
      stdio: [stdio[0], stdio[1], 'pipe', 'ipc', stdio[2], 'pipe'],
      // Not the user's NODE_OPTIONS: COMMAND has its own environment.
      env: { PATH: process.env['PATH'], LC_ALL: 'C', ...compileCache() },
    });
    this.#exited = once(this.#child, 'exit').catch((error: unknown) => error);
    this.#child.on('error', (error) => this.#end(error.message));
    this.#child.on('exit', (code, signal) => this.#end(`it ended with ${signal ?? `exit code ${code}`}`));
    this.#child.on('message', (message, handle: unknown) => this.#receive(message, handle));
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-8192);
    });
    this.#child.stderr?.on('error', () => undefined);
  }

  /** The pipe of COMMAND's datagrams, in frames as `datagrams/frames.ts` says; undefined when the helper could not be started. */
  get datagrams(): Socket | undefined {
    const pipe = this.#child.stdio.at(5);
    return pipe instanceof Socket ? pipe : undefined;
  }

  /** Process id of the helper, whose `/proc/<pid>/net` shows the network. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Sets the network up. Rejects with a Failure that says which part is not possible on this machine. */
  async setUp(request: { ipv6: boolean }, { signal }: AbortOptions = {}): Promise<Listeners> {
    signal?.throwIfAborted();
    const programs = { ip: requireProgram('ip', 'iproute2'), nft: requireProgram('nft', 'nftables') };
    const finished = new Promise<void>((resolve, reject) => {
      this.#settleSetUp = (failure) => (failure === undefined ? resolve() : reject(failure));
    });
    const abort = (): void => {
      this.#child.kill('SIGKILL');
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      if (this.#ended) this.#failSetUp('namespaces', this.#stderr);
      this.send({ type: 'set-up', programs, dropCapabilities: this.#userNamespace, ...request });
      await finished;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
    this.#network = networkOf(this.pid);
    return this.#takeListeners();
  }

  send(message: ToInside): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  /** A connection made inside, to `address`, with nothing read from it yet. Rejects with an error that has a `code`. */
  async connect(address: string, port: number): Promise<Socket> {
    const { message, handle } = await this.#ask((id) => ({ type: 'connect', id, address, port }));
    if (message?.type === 'connected' && handle instanceof Socket) {
      handle.allowHalfOpen = true;
      return handle;
    }
    const code = message?.type === 'not-connected' ? message.code : 'ECONNABORTED';
    throw Object.assign(new Error(`connect to ${address}:${port} inside: ${code}`), { code });
  }

  /** A UDP socket of the network inside, bound. Rejects with an error that has a `code`. */
  async openDatagrams(): Promise<DatagramSocket> {
    const { message, handle } = await this.#ask((id) => ({ type: 'open-datagrams', id }));
    if (message?.type === 'datagrams' && handle instanceof DatagramSocket) return handle;
    const code = message?.type === 'not-connected' ? message.code : 'ECONNABORTED';
    throw Object.assign(new Error(`a UDP socket inside: ${code}`), { code });
  }

  /** Gives COMMAND its /etc/resolv.conf. Rejects with a Failure. */
  async setNames(resolvConf: string): Promise<void> {
    const { message } = await this.#ask((id) => ({ type: 'set-names', id, resolvConf }));
    const problem = message?.type === 'names-set' ? message.problem : 'the helper in the private network has ended';
    if (problem !== undefined) throw setUpFailure({ step: 'files', message: problem, userNamespace: this.#userNamespace });
  }

  /** Mounts the volumes, before COMMAND starts; answers what could not be mounted. Rejects with the Failure VOLUMES_NOT_MOUNTED. */
  async mountVolumes(request: VolumesToMount): Promise<readonly string[]> {
    const { message } = await this.#ask((id) => ({ type: 'mount-volumes', id, ...request }));
    if (message?.type === 'volumes-mounted') return message.problems;
    throw new Failure('VOLUMES_NOT_MOUNTED', "the pod's volumes cannot be mounted for the command", {
      likely: message?.type === 'volumes-failed' ? message.message : 'the helper in its private network has ended',
      remedy: 'run it without --files',
      exitCode: ExitCode.kpctlFailed,
    });
  }

  /** Replaces the files of a mounted volume. */
  updateVolume(name: string, files: readonly WrittenFile[]): void {
    this.send({ type: 'update-volume', name, files });
  }

  /** Ends what runs inside (SIGTERM, 2 s later SIGKILL), then the helper. Afterwards the namespaces are gone. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.send({ type: 'close' });
    const force = setTimeout(() => this.#child.kill('SIGKILL'), closeDeadline);
    await this.#exited;
    clearTimeout(force);
    if (this.#network !== undefined) await endProcessesIn(this.#network, { grace: 0 });
    // The resolver may have closed those that it serves.
    for (const listener of this.#listeners.values()) if (descriptorOf(listener) !== undefined) listener.close();
    this.#listeners.clear();
  }

  #ask(request: (id: number) => ToInside): Promise<{ message?: FromInside; handle?: unknown }> {
    if (this.#ended) return Promise.resolve({});
    return new Promise((resolve) => {
      const id = this.#nextId++;
      this.#answers.set(id, (message, handle) => resolve(message === undefined ? {} : { message, handle }));
      this.send(request(id));
    });
  }

  #receive(value: unknown, handle: unknown): void {
    const message: FromInside = fromInsideSchema.parse(value);
    switch (message.type) {
      case 'listener':
        if (handle instanceof Server || handle instanceof DatagramSocket) this.#keep(message.purpose, handle);
        break;
      case 'ready':
        this.#settleSetUp?.();
        break;
      case 'set-up-failed':
        this.#failSetUp(message.step, message.message);
        break;
      case 'names-set':
      case 'volumes-mounted':
      case 'volumes-failed':
      case 'connected':
      case 'datagrams':
      case 'not-connected': {
        const answer = this.#answers.get(message.id);
        this.#answers.delete(message.id);
        answer?.(message, handle);
        break;
      }
      case 'started':
      case 'not-started':
      case 'exited':
        this.#handlers.onMessage(message);
        break;
    }
  }

  /** Nothing connects before COMMAND runs, so that these come in time for the first connection. */
  #keep(purpose: string, listener: Server | DatagramSocket): void {
    if (listener instanceof Server)
      Object.assign(listener, { allowHalfOpen: true, noDelay: true, pauseOnConnect: purpose.startsWith('flows') });
    listener.on('error', (error) => this.#handlers.log.warn({ err: error, purpose }, 'listener of the private network'));
    this.#listeners.set(purpose, listener);
  }

  #takeListeners(): Listeners {
    const [dnsTcp, dnsUdp] = [this.#listeners.get('dns-tcp'), this.#listeners.get('dns-udp')];
    const flows = ['flows', 'flows6'].map((purpose) => this.#listeners.get(purpose)).filter((listener) => listener instanceof Server);
    if (!(dnsTcp instanceof Server) || !(dnsUdp instanceof DatagramSocket) || flows.length === 0) throw new Error('a listener is missing');
    return { flows, dnsTcp, dnsUdp };
  }

  #failSetUp(step: 'namespaces' | SetUpStep, message: string): void {
    this.#settleSetUp?.(setUpFailure({ step, message, userNamespace: this.#userNamespace }));
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    // Its last words may still be in the pipe.
    const finish = (): void => {
      // Before it is set up, the failure says the same.
      if (this.#stderr !== '' && this.#network !== undefined) {
        this.#handlers.log.warn({ stderr: this.#stderr }, 'the helper in the private network');
      }
      this.#failSetUp('namespaces', this.#stderr === '' ? reason : this.#stderr.replace(/^unshare: /, ''));
      for (const answer of this.#answers.values()) answer(undefined, undefined);
      this.#answers.clear();
      this.#handlers.onLost(reason);
    };
    if (this.#child.stderr?.closed === false && this.#child.pid !== undefined) this.#child.once('close', finish);
    else finish();
  }
}

/** The helper shares kpctl's compiled modules: it starts in a third of the time. COMMAND does not get this variable. */
function compileCache(): Readonly<Record<string, string>> {
  const folder = getCompileCacheDir();
  // What it answers is the folder of this version of Node, in the one that was asked for.
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}

const signalName = z.custom<NodeJS.Signals>((value) => typeof value === 'string' && value in constants.signals);
const id = z.int();
const fromInsideSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('listener'), purpose: z.enum(['flows', 'flows6', 'dns-tcp', 'dns-udp']) }),
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('set-up-failed'), step: z.enum(['interface', 'rules', 'files', 'listeners']), message: z.string() }),
  z.object({ type: z.literal('started'), pid: z.int() }),
  z.object({ type: z.literal('not-started'), code: z.string(), message: z.string() }),
  z.object({ type: z.literal('exited'), code: z.int().nullable(), signal: signalName.nullable() }),
  z.object({ type: z.literal('names-set'), id, problem: z.string().optional() }),
  z.object({ type: z.literal('volumes-mounted'), id, problems: z.array(z.string()) }),
  z.object({ type: z.literal('volumes-failed'), id, message: z.string() }),
  z.object({ type: z.literal('connected'), id }),
  z.object({ type: z.literal('datagrams'), id }),
  z.object({ type: z.literal('not-connected'), id, code: z.string() }),
]);

/** Whether this process may make network and mount namespaces without a user namespace (capabilities(7)). */
function mayMakeNamespaces(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const bits = BigInt(`0x${effective}`);
  return [Capability.sysAdmin, Capability.netAdmin].every((bit) => ((bits >> BigInt(bit)) & 1n) === 1n);
}
