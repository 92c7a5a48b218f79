import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, Server } from 'node:net';
import { Failure } from '../platform/errors.ts';
import type { Closeable } from '../platform/owned.ts';
import { requireProgram } from '../platform/programs.ts';

type Descriptor = 'ignore' | 'inherit' | 'pipe' | number;

export interface EnterLabOptions {
  /** Default: this process's environment. */
  readonly environment?: NodeJS.ProcessEnv;
  /** stdin, stdout, stderr of the program. Default: none, and this process's stdout and stderr. */
  readonly stdio?: readonly [Descriptor, Descriptor, Descriptor];
  /** Whether the lab's API shall also be served on 127.0.0.1 of this process's own network (any free port). */
  readonly listenOutside?: boolean;
}

/** A program inside namespaces of its own. Closing it, or the end of this process, leaves nothing of it. */
export interface LabProcess extends Closeable {
  /** `unshare`; its IPC channel leads to the program: `send`, `on('message')`. */
  readonly child: ChildProcess;
  /** Resolves when the program and with it all that ran inside has ended; never rejects. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** The first process of the namespaces: a shell that reaps orphans and ends with the program. */
const firstProcess = '"$@" & wait $!';

/**
 * Starts a Node program of ours as the lab: in its own network, mount and PID namespace, and a user namespace unless
 * this process is root (unshare(1)). The kernel kills everything in a PID namespace with its first process. If this
 * process dies, even by SIGKILL, the program sees its IPC channel close (`atParentsEnd`) and ends.
 */
export async function enterLab(program: readonly string[], options: EnterLabOptions = {}): Promise<LabProcess> {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const [stdin, stdout, stderr] = options.stdio ?? ['ignore', 'inherit', 'inherit'];
  const child = spawn(
    requireProgram('unshare', 'util-linux'),
    [...user, '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--', 'sh', '-c', firstProcess, 'sh', ...program],
    { stdio: [stdin, stdout, stderr, 'ipc'], env: options.environment ?? process.env },
  );
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('exit', (code, signal) => resolve({ code, signal }));
    child.on('error', () => resolve({ code: null, signal: null }));
  });
  try {
    await once(child, 'spawn');
    if (options.listenOutside === true) await handOverListener(child);
  } catch (error) {
    child.kill('SIGKILL');
    throw new Failure('LAB_ISOLATION', `the lab cannot be started: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const close = async (): Promise<void> => {
    // SIGKILL of unshare is SIGKILL of the first process (--kill-child), and that of all others.
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
  };
  return { child, ended, close, [Symbol.asyncDispose]: close };
}

/** A socket stays in the network in which it was made: the lab serves its API outside through this one. */
async function handOverListener(child: ChildProcess): Promise<void> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  await new Promise<void>((resolve, reject) => {
    child.send(listenerMessage, server, {}, (error) => (error === null ? resolve() : reject(error)));
  });
  // Only the lab may accept.
  server.close();
}

const listenerMessage = 'lab-listener';

/** Inside: the listener that the parent promised by `listenOutside`. */
export function outsideListener(): Promise<Server> {
  return new Promise((resolve) => {
    const onMessage = (message: unknown, handle: unknown): void => {
      if (message !== listenerMessage || !(handle instanceof Server)) return;
      process.off('message', onMessage);
      resolve(handle);
    };
    process.on('message', onMessage);
  });
}

/** Inside: calls `end` (which must end the process) once the parent has ended or closed the channel. */
export function atParentsEnd(end: () => void): void {
  if (process.connected) process.once('disconnect', end);
  else end();
}
