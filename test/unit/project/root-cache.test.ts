import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const kpctl = fileURLToPath(new URL('../../../bin/kpctl.js', import.meta.url));

/** Starts kpctl as root, with this folder for caches. */
function start(folder: string): void {
  execFileSync(process.execPath, [kpctl, '--version'], { env: { PATH: process.env['PATH'], XDG_CACHE_HOME: folder }, stdio: 'ignore' });
}

test("root takes compiled code from root's folders only, whatever leads to them", (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kp-cache-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [roots, others] = [join(folder, 'roots'), join(folder, 'others')];
  mkdirSync(roots);
  mkdirSync(join(others, 'of-root'), { recursive: true });
  symlinkSync(roots, join(others, 'link'));
  start(roots);
  t.true(existsSync(join(roots, 'kpctl')));
  rmSync(join(roots, 'kpctl'), { recursive: true });
  if (process.getuid?.() !== 0) return;
  chownSync(others, 4321, 4321);
  // Who has the folder above can put another one there.
  start(join(others, 'of-root'));
  t.false(existsSync(join(others, 'of-root', 'kpctl')));
  start(join(others, 'missing'));
  t.false(existsSync(join(others, 'missing')));
  // A link may lead elsewhere a moment later: it is not followed again.
  start(join(others, 'link'));
  t.true(existsSync(join(roots, 'kpctl')));
});
