import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../../../src/platform/programs.ts';

/**
 * The program inside a machine of its own (network, mount and PID namespace), where nothing else goes on: plays the demo, kills it in
 * the middle, plays it again, and compares the machine before and after each. Prints one JSON object.
 */

const root = fileURLToPath(new URL('../../../', import.meta.url));
const runtime = process.env['XDG_RUNTIME_DIR'] ?? '/nonexistent';

/** Everything that a demo could change on the machine that it runs on. */
function machine(): Record<string, string> {
  const program = (name: string, ...argv: string[]): string => execFileSync(findProgram(name) ?? name, argv, { encoding: 'utf8' });
  const folder = (path: string): string => readdirSync(path).sort().join('\n');
  return {
    processes: processes(),
    mounts: mounts()
      .filter((line) => !mountsBefore.has(line))
      .join('\n'),
    rules: program('nft', 'list', 'ruleset'),
    namespaces: program('ip', 'netns'),
    links: program('ip', '-brief', 'link'),
    addresses: program('ip', '-brief', 'address'),
    routes: program('ip', 'route', 'show', 'table', 'all'),
    resolvConf: readFileSync('/etc/resolv.conf', 'utf8'),
    runtime: readdirSync(runtime, { recursive: true, encoding: 'utf8' }).sort().join('\n'),
    run: folder('/run'),
    temporary: readdirSync(tmpdir())
      .filter((name) => /^(kpctl|kpeering-lab|kp-lab)/.test(name))
      .join('\n'),
  };
}

/** A mount that is gone may have been the machine's own doing (somebody removed its folder): only new ones count. */
const mountsBefore = new Set(mounts());
function mounts(): string[] {
  return readFileSync('/proc/self/mounts', 'utf8').split('\n');
}

/** All but this one and its children that the comparison itself starts. */
function processes(): string {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const text = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return text === '' ? [] : [text]; // kernel threads and zombies have none
      } catch {
        return [];
      }
    })
    .sort()
    .join('\n');
}

function demo(): ChildProcess {
  return spawn(process.execPath, [join(root, 'bin/kpctl.js'), 'demo'], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function play(): Promise<{ code: number | null; lines: string[] }> {
  const child = demo();
  const lines: string[] = [];
  if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  await once(child, 'close');
  return { code: child.exitCode, lines };
}

/** SIGKILL once the stories are under way. */
async function killInTheMiddle(): Promise<void> {
  const child = demo();
  if (child.stdout === null) throw new Error('no output');
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) if (line.includes('intercepted: kpctl intercept')) break;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** What differs; looked at again for up to five seconds, since the kernel takes namespaces apart in its own time. */
async function differences(before: Record<string, string>): Promise<string[]> {
  const until = performance.now() + 5_000;
  for (;;) {
    const after = machine();
    const different = Object.keys(before).filter((kind) => before[kind] !== after[kind]);
    if (different.length === 0 || performance.now() > until) {
      return different.map((kind) => `${kind}:\n--- before\n${before[kind]}\n--- after\n${after[kind]}`);
    }
    await delay(50);
  }
}

const before = machine();
await killInTheMiddle();
const afterKill = await differences(before);
const played = await play();
const afterPlay = await differences(before);
process.stdout.write(`${JSON.stringify({ afterKill, afterPlay, ...played })}\n`);
