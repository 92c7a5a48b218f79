import test from 'ava';
import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../../../src/platform/programs.ts';
import { rawApi } from './scenarios.ts';

const outer = fileURLToPath(new URL('outer.ts', import.meta.url));

/** Process ids whose environment has the marker. */
function marked(marker: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(marker);
    } catch {
      return false;
    }
  });
}

/** What a lab could leave behind on the machine. */
function machine(): Record<string, string> {
  const printed = (program: string, ...rest: string[]): string => execFileSync(findProgram(program) ?? program, rest).toString();
  const link = printed('ip', '-brief', 'link').replaceAll(/\s+/g, ' ');
  return {
    mounts: String(/kpeering-lab/.test(readFileSync('/proc/self/mounts', 'utf8'))),
    link: String(/\bpod\d|\blaptop@|\bpods\b/.test(link)),
  };
}

for (const victim of ['parent', 'unshare'] as const) {
  test(`SIGKILL of the ${victim} leaves no process, mount, link or file`, async (t) => {
    const marker = `KPEERING_TEST_${randomUUID()}`;
    const directory = mkdtempSync(join(tmpdir(), 'kpeering-lab-test-'));
    const before = machine();
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', outer, directory], {
      env: { ...process.env, KPEERING_TEST_MARKER: marker },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      let pid: number | undefined;
      for await (const line of createInterface({ input: child.stdout })) {
        pid = Number(/^up (\d+)$/.exec(line)?.[1]);
        break;
      }
      t.true(marked(marker).length >= 3);
      // The API is served on the machine's own loopback.
      const { status } = await rawApi(join(directory, 'kubeconfig')).get('/api/v1/namespaces/default/pods');
      t.is(status, 200);
      process.kill(victim === 'parent' ? (child.pid ?? 0) : (pid ?? 0), 'SIGKILL');
      const late = Date.now() + 10_000;
      while (marked(marker).length > 0 && Date.now() < late) {
        await new Promise((resolve) => {
          setTimeout(resolve, 20);
        });
      }
      t.deepEqual(marked(marker), []);
      t.deepEqual(machine(), before);
      // The caller's own folder has what the caller asked for, and nothing else.
      t.deepEqual(readdirSync(directory), ['kubeconfig']);
    } finally {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      rmSync(directory, { recursive: true });
    }
  });
}
