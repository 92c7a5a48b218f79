import { spawn } from 'node:child_process';

/**
 * Runs a program with `input` on its stdin and answers with its stdout. Throws with what it wrote to stderr when it
 * fails. The shortest way that child_process has: the set-up waits for it.
 */
export function run(program: string, parameters: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    // It ended without reading all: its exit code says why.
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${program}: ${stderr.trim() || `exit code ${code}`}`));
    });
    child.stdin.end(input);
  });
}
