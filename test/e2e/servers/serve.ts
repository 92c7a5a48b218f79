/** In a pod: waits until unpack.ts has brought what the file `servers` names, and runs that server: the words of our arguments. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';

const [program = '', ...words] = process.argv.slice(2);
const begin = (): void => {
  const child = spawn(program, words, { stdio: 'inherit' });
  process.once('SIGTERM', () => child.kill('SIGTERM'));
  child.once('exit', (code) => process.exit(code ?? 1));
};
const timer = setInterval(() => {
  if (!existsSync('/servers/ready')) return;
  clearInterval(timer);
  begin();
}, 100);
