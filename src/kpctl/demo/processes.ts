import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { deadline, type AbortOptions } from '../../platform/abort.ts';

/** How a program ended, and what it printed. */
export interface Outcome {
  /** Exit code, or 128 + the signal's number as a shell gives it, or -1 if it could not be started. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs beside the story. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** Lines of stdout and stderr so far, in the order in which they came. */
  readonly lines: readonly string[];
  readonly exited: Promise<Outcome>;
  /** Resolves with the first line that matches, an earlier one too; rejects when the program ends before, or after 20 s. */
  waitForLine(pattern: RegExp, options?: AbortOptions): Promise<string>;
  kill(signal: NodeJS.Signals): void;
}

const signalNumbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };

/** Starts a program; disposing of it kills it (SIGKILL) and waits for its end. */
export function start(argv: readonly string[], environment: NodeJS.ProcessEnv, options: { readonly input?: string } = {}): Running {
  const [program = '', ...rest] = argv;
  const child = spawn(program, rest, { env: environment, stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
  const lines: string[] = [];
  const listeners = new Set<(line: string) => void>();
  const texts = { stdout: '', stderr: '' };
  const follow = (name: 'stdout' | 'stderr'): void => {
    const stream = child[name];
    if (stream === null) return;
    createInterface({ input: stream }).on('line', (line) => {
      texts[name] += `${line}\n`;
      lines.push(line);
      for (const listener of listeners) listener(line);
    });
  };
  follow('stdout');
  follow('stderr');
  child.stdin?.on('error', () => undefined); // a program that ends without reading its input
  child.stdin?.end(options.input);
  const exited = outcomeOf(child, texts);
  return {
    pid: child.pid ?? -1,
    lines,
    exited,
    waitForLine: async (pattern, waitOptions = {}) => {
      const found = lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      const signal = deadline(20_000, waitOptions.signal);
      return await new Promise<string>((resolve, reject) => {
        const listener = (line: string): void => {
          if (!pattern.test(line)) return;
          done();
          resolve(line);
        };
        const fail = (why: string): void => {
          done();
          reject(new Error(`${argv.join(' ')}: ${why} before a line like ${String(pattern)}; it printed:\n${lines.join('\n')}`));
        };
        const abort = (): void => fail('time was up');
        const done = (): void => {
          listeners.delete(listener);
          signal.removeEventListener('abort', abort);
        };
        listeners.add(listener);
        signal.addEventListener('abort', abort, { once: true });
        void exited.then((outcome) => fail(`it ended with ${outcome.code}`));
      });
    },
    kill: (signal) => void child.kill(signal),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Runs a program to its end. */
export async function run(
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
  options: { readonly input?: string } = {},
): Promise<Outcome> {
  await using running = start(argv, environment, options);
  return await running.exited;
}

async function outcomeOf(child: ChildProcess, texts: { stdout: string; stderr: string }): Promise<Outcome> {
  try {
    await once(child, 'close');
  } catch (error) {
    return { code: -1, stdout: '', stderr: String(error) };
  }
  const code = child.exitCode ?? 128 + (signalNumbers[child.signalCode ?? ''] ?? 0);
  return { code, stdout: texts.stdout, stderr: texts.stderr };
}
