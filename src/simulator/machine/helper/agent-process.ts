import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket as DatagramSocket } from 'node:dgram';
import { Socket, type Server } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { kpeeringGid } from '../../../platform/ports.ts';
import { requireProgram } from '../../../platform/programs.ts';
import { fromAgentSchema, type FromAgent, type ToAgent } from '../messages.ts';
import type { Caller } from '../types.ts';

export interface AgentHandlers {
  readonly onMessage: (message: FromAgent) => void;
  /** Its channel has closed, or it has ended: it does nothing for the machine any more. Called once. */
  readonly onEnd: (why: string) => void;
}

/** What of its stderr is kept, for who asks why it ended. */
const MOST_LAST_WORDS = 4096;
/** How long an agent has to say goodbye to the cluster. */
const END_MILLISECONDS = 1000;
/**
 * What the loader and the C library obey, and do not in a program that is set-uid (ld.so(8), secure-execution mode): setpriv begins as root,
 * and sudo has kept these from root on purpose.
 */
const obeyedAtStart = /^(LD_.*|GLIBC_TUNABLES|GCONV_PATH|GETCONF_DIR|LOCPATH|MUSL_LOCPATH|NLSPATH|MALLOC_TRACE)$/;
/** Its exit may be known a moment after its channel has closed. */
const EXIT_MILLISECONDS = 50;

/**
 * The agent: everything of `kpctl up` that needs no root. It has the caller's user and groups, and beside them the group by which the rules know its traffic, as the one
 * that it acts as; what it starts, credential plugins for instance, inherits that. It has no capability, also where the caller is root.
 */
export class AgentProcess {
  readonly #child: ChildProcess;
  readonly #handlers: AgentHandlers;
  readonly #exited: Promise<void>;
  /** Resolves when its channel is closed. */
  readonly #gone: Promise<void>;
  #stderr = '';
  #heard = false;
  #ended = false;

  /** Throws a Failure PROGRAM_MISSING. */
  constructor(caller: Caller, command: readonly string[], handlers: AgentHandlers) {
    this.#handlers = handlers;
    this.#child = spawn(requireProgram('setpriv', 'util-linux'), [...privileges(caller), '--', ...command], {
      cwd: caller.directory,
      env: harmless(caller.environment),
      stdio: ['ignore', 'ignore', 'pipe', 'ipc', 'pipe'],
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#end(signal === null ? `exit code ${code}` : signal);
        resolve();
      });
      this.#child.once('error', (error) => {
        this.#end(error.message);
        resolve();
      });
    });
    this.#gone = new Promise<void>((resolve) => this.#child.once('disconnect', resolve));
    // It may only have closed its channel; whoever has killed it knows more.
    this.#child.once('disconnect', () => void pause(EXIT_MILLISECONDS).then(() => this.#end('')));
    this.#child.on('message', (message) => this.#receive(message));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr = (this.#stderr + text).slice(-MOST_LAST_WORDS)));
    this.#child.stderr?.on('error', () => undefined);
    this.datagrams.on('error', (error) => this.#end(error.message));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The pipe of captured datagrams and their answers. */
  get datagrams(): Socket {
    const pipe = this.#child.stdio.at(4);
    if (pipe instanceof Socket) return pipe;
    throw new Error('the pipe of datagrams is missing');
  }

  /** Resolves when it has arrived, with its handle; also when nobody is there to get it. */
  async send(message: ToAgent, handle?: Server | DatagramSocket): Promise<void> {
    if (!this.#child.connected) return;
    const sent = new Promise<void>((resolve) => this.#child.send(message, handle, {}, () => resolve()));
    // Node forgets what waits behind a handle when the channel closes.
    await Promise.race([sent, this.#gone]);
  }

  /** Lets it end by itself for a while, when it has asked for anything, then ends it. */
  async end(): Promise<void> {
    this.#ended = true;
    if (this.#child.connected) this.#child.disconnect();
    // One that still starts is not listening yet.
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), this.#heard ? END_MILLISECONDS : 0);
    await this.#exited;
    clearTimeout(timer);
  }

  #receive(value: unknown): void {
    const message = fromAgentSchema.safeParse(value);
    this.#heard = true;
    if (message.success) this.#handlers.onMessage(message.data);
    else this.#end('it said something that no agent says');
  }

  #end(why: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#handlers.onEnd([this.#stderr.trim(), why].filter((text) => text !== '').join('; '));
  }
}

function harmless(environment: Caller['environment']): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !obeyedAtStart.test(name)));
}

/** Arguments of setpriv(1). */
function privileges({ uid, gid, groups }: Caller): string[] {
  const all = [...new Set([gid, ...groups])];
  return [
    `--reuid=${uid}`,
    `--regid=${kpeeringGid}`,
    `--groups=${all.join(',')}`,
    '--inh-caps=-all',
    '--ambient-caps=-all',
    // Another user has lost all with its uid; root would get them again with every program that it starts.
    ...(uid === 0 ? ['--bounding-set=-all'] : []),
  ];
}
