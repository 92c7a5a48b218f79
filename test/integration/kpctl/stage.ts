import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { run, start, type Outcome, type Running } from '../../../src/kpctl/demo/processes.ts';
import { startLab, type Lab } from '../../../src/lab/index.ts';
import { systemCode } from '../../../src/platform/errors.ts';
import { createLogger } from '../../../src/platform/log.ts';
import { Namespace } from '../../harness/namespaces.ts';
import { deployment } from './manifests.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const node = process.execPath;

/** On the lab's own file system: a program that was compiled once starts in half the time (Node's module.enableCompileCache). */
const compiled = { NODE_COMPILE_CACHE: '/dev/shm/compiled' };

/** What the manifests' images are: this checkout's own programs. */
const images = {
  'kpeering/kpeering:dev': { entrypoint: [node, join(root, 'bin/kpeering.js')], environment: compiled },
  'kpeering/init:dev': { entrypoint: ['/bin/sh', join(root, 'init-container/redirect.sh')] },
  'kpeering/examples:dev': { entrypoint: [node, join(root, 'deploy/examples/apps/main.js')], environment: compiled },
  'lab/sh:dev': { entrypoint: ['/bin/sh', '-c'] },
};

/** A pod without a sidecar from which tests call. */
const caller = deployment({ name: 'caller', sidecar: false, container: 'image: "lab/sh:dev", args: ["exec sleep 100000"]' });

/** How a kpctl is started. */
export interface KpctlOptions {
  /** Default: the stage's own kubeconfig, of a user who may do anything. */
  readonly kubeconfig?: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Put before kpctl, on the laptop. */
  readonly prefix?: readonly string[];
}

/** A lab, its laptop, and a pod of the cluster that calls: sockets of both are held by the test itself. */
export class Stage {
  readonly lab: Lab;
  /** The laptop's network, for servers and clients of the developer. */
  readonly laptop: Namespace;
  /** A pod's network, for clients inside the cluster. */
  readonly caller: Namespace;
  readonly environment: NodeJS.ProcessEnv;

  private constructor(lab: Lab) {
    this.lab = lab;
    this.laptop = new Namespace(lab.laptop.prefix);
    const [pod = ''] = lab.podNames('default', { app: 'caller' });
    this.caller = new Namespace(lab.pod('default', pod).prefix);
    const home = join(lab.workspace, 'home');
    mkdirSync(home, { mode: 0o700 });
    this.environment = {
      PATH: process.env['PATH'],
      TERM: 'dumb',
      HOME: home,
      XDG_RUNTIME_DIR: home,
      KUBECONFIG: lab.kubeconfigs.laptop,
      ...compiled,
    };
  }

  /** A lab with these manifests, ready. */
  static async open(manifests: string): Promise<Stage> {
    const lab = await startLab({
      images,
      keepVisible: [root, node],
      log: createLogger('lab', 'error'),
      bookmarkMilliseconds: 1_000,
      backoffMilliseconds: 200,
    });
    await lab.apply(caller + manifests);
    await lab.waitReady();
    return new Stage(lab);
  }

  /** The example program of deploy/examples. */
  get example(): readonly string[] {
    return [node, join(root, 'deploy/examples/apps/main.js')];
  }

  /** The init container's script. */
  get redirect(): string {
    return join(root, 'init-container/redirect.sh');
  }

  /** A fresh folder of the lab's. */
  folder(): string {
    return mkdtempSync(join(this.lab.workspace, 'folder-'));
  }

  /** Runs kpctl on the laptop to its end. */
  async kpctl(words: readonly string[], options: KpctlOptions = {}): Promise<Outcome> {
    return await run(this.#argv(words, options), this.#environment(options), options.input === undefined ? {} : { input: options.input });
  }

  /** Starts kpctl on the laptop. */
  start(words: readonly string[], options: KpctlOptions = {}): Running {
    return start(this.#argv(words, options), this.#environment(options), options.input === undefined ? {} : { input: options.input });
  }

  /** Starts `kpctl intercept` and waits until it is ready. */
  async intercept(words: readonly string[], options: KpctlOptions = {}): Promise<Running> {
    const intercept = this.start(['intercept', ...words], options);
    await intercept.waitForLine(/^ready$/);
    return intercept;
  }

  #argv(words: readonly string[], { prefix = [] }: KpctlOptions): string[] {
    return [...this.lab.laptop.prefix, ...prefix, node, join(root, 'bin/kpctl.js'), ...words];
  }

  #environment({ kubeconfig, environment }: KpctlOptions): NodeJS.ProcessEnv {
    return { ...this.environment, ...(kubeconfig !== undefined && { KUBECONFIG: kubeconfig }), ...environment };
  }

  /** Names of an application's pods. */
  pods(app: string): string[] {
    return this.lab.podNames('default', { app }).toSorted();
  }

  address(pod: string): string {
    return this.lab.pod('default', pod).address;
  }

  /** A server of the developer that answers every HTTP request with a word. */
  async laptopServer(word: string, port = 0, host = '127.0.0.1'): Promise<Server> {
    const server = await this.laptop.listen({ host, port });
    server.on('connection', (socket: Socket) => {
      socket.on('error', () => undefined);
      // the kubelet's probes say nothing
      socket.on('end', () => socket.end());
      socket.once('data', () => socket.end(`HTTP/1.0 200 OK\r\n\r\n${word}`));
    });
    return server;
  }

  /** One HTTP call from inside the cluster: the body, or the code of the error. */
  async call(host: string, port: number, from: Namespace = this.caller): Promise<string> {
    try {
      const socket = await from.connect({ host, port });
      const text = readAll(socket);
      socket.end(`GET /status HTTP/1.0\r\nHost: x\r\n\r\n`);
      return (await text).replace(/^HTTP[\s\S]*?\r\n\r\n/, '').trim();
    } catch (error) {
      return error instanceof Error && 'code' in error ? String(error.code) : String(error);
    }
  }
}

/** The port of a server that listens. */
export function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Everything that comes until the far end half-closes. */
export async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** The code of the error with which a socket closes; `closed` when it closes without. */
export async function endOf(socket: Socket): Promise<string> {
  socket.on('error', () => undefined).resume();
  if (!socket.closed) await once(socket, 'close').catch(() => undefined);
  return socket.errored === null ? 'closed' : (systemCode(socket.errored) ?? socket.errored.message);
}

/** Polls until a condition holds. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>, milliseconds = 20_000): Promise<void> {
  const late = performance.now() + milliseconds;
  while (!(await condition())) {
    assert.ok(performance.now() < late, `not in time: ${what}`);
    await delay(50);
  }
}

/** Lines of stderr that are warnings, and the others. */
export function messages({ stderr }: Outcome): { warnings: string[]; others: string[] } {
  const lines = stderr.split('\n').filter((line) => line !== '');
  const isWarning = (line: string): boolean => line.startsWith('kpctl: warning: ');
  return { warnings: lines.filter(isWarning), others: lines.filter((line) => !isWarning(line)) };
}

/** Bad input: one clear line on stderr (and the warnings expected), nothing on stdout, the exit code. */
export function assertRefused(outcome: Outcome, code: number, line: RegExp, warnings: readonly RegExp[] = []): void {
  const said = messages(outcome);
  const all = JSON.stringify(outcome, undefined, 1);
  assert.equal(said.others.length, 1, all);
  assert.match(said.others[0] ?? '', line);
  assert.match(said.others[0] ?? '', /^kpctl: .* \[[A-Z_]+\]$/, 'a code, and who says it');
  assert.equal(said.warnings.length, warnings.length, all);
  for (const [index, pattern] of warnings.entries()) assert.match(said.warnings[index] ?? '', pattern);
  assert.equal(outcome.stdout, '', all);
  assert.doesNotMatch(outcome.stderr, /\n\s+at /, 'no stack trace');
  assert.equal(outcome.code, code, all);
}
