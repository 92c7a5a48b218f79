import { spawn } from 'node:child_process';

/** How a program ended. */
export interface ProgramOutcome {
  /** The exit code; 128 + n for a signal, as a shell gives it; 127 when it could not be started. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  readonly input?: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Runs a program to its end; never rejects. An aborted signal kills it. */
export function runProgram(argv: readonly string[], options: ProgramOptions = {}): Promise<ProgramOutcome> {
  return new Promise((resolve) => {
    const [file = '', ...rest] = argv;
    const child = spawn(file, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      killSignal: 'SIGKILL',
      ...(options.environment !== undefined && { env: options.environment }),
      ...(options.signal !== undefined && { signal: options.signal }),
    });
    const texts = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text));
    // A program may end without reading its input: its exit code says why.
    child.stdin.on('error', () => undefined);
    child.on('error', (error) => {
      if (child.pid === undefined) resolve({ code: 127, stdout: '', stderr: error.message });
    });
    child.on('close', (code, signal) => resolve({ ...texts, code: code ?? 128 + (signalNumbers[signal ?? ''] ?? 0) }));
    child.stdin.end(options.input ?? '');
  });
}

/** Runs a program that must succeed; rejects with what it wrote to stderr. */
export async function mustRun(argv: readonly string[], options: ProgramOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await runProgram(argv, options);
  if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr.trim() || `exit code ${code}`}`);
  return stdout;
}
