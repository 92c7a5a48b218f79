import { spawn } from 'node:child_process';
import { findProgram } from '../../../platform/programs.ts';
import { messageOf } from '../../../platform/errors.ts';

export interface Outcome {
  /** 127 where the program is missing, 124 when it took too long. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Most that is kept of a program's output, in characters. */
const most = 1_000_000;

/**
 * Runs one of the system's programs to its end, with an environment of its own (nothing of the caller's) and a deadline of
 * `milliseconds`. Never rejects.
 */
export function attempt(program: string, parameters: readonly string[], milliseconds = 5000): Promise<Outcome> {
  const path = findProgram(program);
  if (path === undefined) return Promise.resolve({ code: 127, stdout: '', stderr: `${program} is not installed` });
  return new Promise((resolve) => {
    const child = spawn(path, parameters, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      cwd: '/',
    });
    let stdout = '';
    let stderr = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, milliseconds);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < most) stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < most) stderr += text;
    });
    child.on('error', (error) => finish(127, messageOf(error)));
    child.on('close', (code) => finish(late ? 124 : (code ?? 1), late ? `no answer within ${milliseconds} ms` : stderr.trim()));
    function finish(code: number, said: string): void {
      clearTimeout(timer);
      resolve({ code, stdout, stderr: said });
    }
  });
}

/** Like {@link attempt}; rejects with what the program said when its exit code is not 0. */
export async function run(program: string, parameters: readonly string[], milliseconds?: number): Promise<string> {
  const { code, stdout, stderr } = await attempt(program, parameters, milliseconds);
  if (code !== 0) throw new Error(`${program} ${parameters.slice(0, 3).join(' ')}: ${stderr === '' ? `exit code ${code}` : stderr}`);
  return stdout;
}
