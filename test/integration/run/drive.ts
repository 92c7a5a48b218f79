import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { AddressInfo } from 'node:net';
import { requireProgram } from '../../../src/platform/programs.ts';
import type { Report, Scenario } from './scenario.ts';

/** An ordinary user's id, whoever runs the tests. */
const nobody = 65_534;

/** Who runs the driver: root and an ordinary user take different ways into a namespace. */
export type User = 'root' | 'ordinary' | 'current';

/** The users that the tests can be. */
export const users: readonly User[] = process.getuid?.() === 0 ? ['root', 'ordinary'] : ['ordinary'];

/** Long enough for a busy machine, in milliseconds. */
const patience = 20_000;

/** A driver at work. */
export interface Driven {
  readonly process: ChildProcess;
  readonly reports: readonly Report[];
  /** What COMMAND wrote so far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** The first report, past or future, that is of this type (and passes `accept`). */
  report<T extends Report['type']>(
    type: T,
    accept?: (report: Extract<Report, { type: T }>) => boolean,
  ): Promise<Extract<Report, { type: T }>>;
  /** Resolves when stdout has `text`. */
  says(text: string): Promise<void>;
  /** How the driver ended. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export interface DriveOptions {
  readonly user: User;
  /** Words in front of the driver: `setsid`, or a terminal. */
  readonly prefix?: readonly string[];
  readonly stdin?: string;
}

/** Words that run the driver as `user`. */
export function driverCommand(scenario: Scenario, user: User): string[] {
  const become =
    user === 'ordinary' && process.getuid?.() === 0
      ? [requireProgram('setpriv', 'util-linux'), `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups']
      : [];
  const driver = fileURLToPath(new URL('driver.ts', import.meta.url));
  return [...become, process.execPath, '--disable-warning=ExperimentalWarning', driver, JSON.stringify(scenario)];
}

/** Starts the driver. */
export function drive(scenario: Scenario, { user, prefix = [], stdin }: DriveOptions): Driven {
  const [program = '', ...parameters] = [...prefix, ...driverCommand(scenario, user)];
  const child = spawn(program, parameters, { stdio: ['pipe', 'pipe', 'pipe', 'ipc'], cwd: '/', detached: true });
  const reports: Report[] = [];
  const watchers = new Set<() => void>();
  const changed = (): void => {
    for (const watcher of watchers) watcher();
  };
  let stdout = '';
  let stderr = '';
  child.on('message', (message: Report) => {
    reports.push(message);
    changed();
  });
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    changed();
  });
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin?.on('error', () => undefined);
  if (stdin !== undefined) child.stdin?.end(stdin);
  const ended = once(child, 'close').then(() => ({ code: child.exitCode, signal: child.signalCode }));
  void ended.then(changed);

  function until<T>(look: () => T | undefined, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => finish(() => reject(new Error(`no ${what}: ${describe()}`))), patience);
      const check = (): void => {
        const found = look();
        if (found !== undefined) finish(() => resolve(found));
        else if (child.exitCode !== null || child.signalCode !== null)
          setImmediate(() => finish(() => reject(new Error(`no ${what}, ended: ${describe()}`))));
      };
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        watchers.delete(check);
        settle();
      };
      watchers.add(check);
      check();
    });
  }
  const describe = (): string => JSON.stringify({ reports, stdout, stderr });

  return {
    process: child,
    reports,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    report: (type, accept) =>
      until(() => reports.filter((report) => isOfType(report, type)).find((report) => accept?.(report) ?? true), `report ${type}`),
    says: (text) => until(() => (stdout.includes(text) ? true : undefined), `output ${text}`).then(() => undefined),
  };
}

function isOfType<T extends Report['type']>(report: Report, type: T): report is Extract<Report, { type: T }> {
  return report.type === type;
}

/** A server on the laptop's 127.0.0.1 that calls `serve` for every connection. */
export async function laptopServer(serve: (socket: Socket) => void): Promise<{ port: number; server: Server; close: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: portOf(server),
    server,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

export function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('not a TCP server');
  return address.port;
}

/** Sends all it got, in capitals, after the client's half-close. */
export function shout(socket: Socket): void {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  socket.on('end', () => socket.end(text.toUpperCase()));
}

/** COMMAND: Node with a script. `net`, `dgram` and `dns` are in scope, as with `node -e`. */
export function script(text: string): string[] {
  return [process.execPath, '-e', text];
}

/** Polls until `look` answers true. */
export async function eventually(look: () => boolean, what: string): Promise<void> {
  const end = performance.now() + patience;
  while (!look()) {
    if (performance.now() > end) throw new Error(`not within ${patience} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
