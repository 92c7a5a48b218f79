import { execFile } from 'node:child_process';

/** Looks its argument up; says on stderr why that failed. */
const script = `require('node:dns').lookup(process.argv[1], (error) => {
  if (error === null) return;
  process.stderr.write(error.message);
  process.exitCode = 1;
});`;

/**
 * Looks a name up as every program of this machine does (getaddrinfo(3)), in a process of its own that ends after `milliseconds`: a look-up cannot be given up, and
 * Node's own end would wait for it, ten seconds where no name server answers. Rejects with what the system says.
 */
export async function lookUpBySystem(name: string, milliseconds: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    execFile(process.execPath, ['-e', script, name], { timeout: milliseconds, killSignal: 'SIGKILL' }, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(stderr.trim() || `no answer in ${milliseconds / 1000} s`, { cause: error }));
    });
  });
}
