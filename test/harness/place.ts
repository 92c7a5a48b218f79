import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireProgram } from '../../src/platform/programs.ts';
import { LogLines } from './log-lines.ts';
import type { Namespace } from './namespaces.ts';

/**
 * Where servers run: a network namespace, and a folder of the test's own. They are an ordinary user there, in a user namespace with one
 * id: PostgreSQL and others refuse root. They end with the world.
 */
export class Place {
  readonly namespace: Namespace;
  readonly folder: string;
  readonly #logs = new Map<string, LogLines>();

  constructor(namespace: Namespace, folder: string) {
    this.namespace = namespace;
    this.folder = folder;
  }

  /** Starts a server; resolves once it has written `ready`. */
  async start(name: string, program: string, parameters: readonly string[], ready: string): Promise<void> {
    const [wrapper, ...words] = unprivileged(program, parameters);
    const child = this.namespace.spawn(wrapper, words, { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'], env: this.#environment() });
    const log = new LogLines(name, child);
    this.#logs.set(name, log);
    await log.until(ready);
  }

  /** Runs a program that prepares a server, to its end. */
  async run(program: string, parameters: readonly string[]): Promise<void> {
    const [wrapper, ...words] = unprivileged(program, parameters);
    const child = this.namespace.spawn(wrapper, words, { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'], env: this.#environment() });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await once(child, 'close');
    if (child.exitCode !== 0) throw new Error(`${program} ${parameters.join(' ')}: exit code ${child.exitCode}: ${output}`);
  }

  /** What a server writes. */
  log(name: string): LogLines {
    const log = this.#logs.get(name);
    if (log === undefined) throw new Error(`${name} does not run here`);
    return log;
  }

  /** Absolute path of something in the folder. */
  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, content: string | Uint8Array, mode = 0o644): string {
    const path = this.path(name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, content, { mode });
    return path;
  }

  #environment(): Record<string, string> {
    return { HOME: this.folder, LC_ALL: 'C' };
  }
}

function unprivileged(program: string, parameters: readonly string[]): [string, ...string[]] {
  return [requireProgram('unshare', 'util-linux'), '--user', '--map-user=1000', '--map-group=1000', '--', program, ...parameters];
}

/** A program of PostgreSQL's server package, which is in no folder of PATH; the newest version. */
export function postgresProgram(name: string): string {
  const root = '/usr/lib/postgresql';
  let versions: string[] = [];
  try {
    versions = readdirSync(root);
  } catch {
    // none is installed
  }
  const newest = versions.toSorted((a, b) => Number(b) - Number(a))[0];
  return newest === undefined ? requireProgram(name, 'postgresql') : join(root, newest, 'bin', name);
}
