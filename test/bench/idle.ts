/**
 * What an idle sidecar takes, as the image runs it (built, and its supervisor as the parent), in each mode: the median of some starts.
 *
 *     node test/bench/idle.ts [--runs 5] [--settle 3000]
 *
 * Then the same after `/metrics` was asked for, ten times, as of a sidecar that Prometheus scrapes.
 *
 * `private` is Private_Dirty, what is its own and no file's; `private clean` pages come from files and can be dropped; resident counts
 * the program's file, too, which all Nodes of a machine share (proc_pid_smaps_rollup, proc(5)).
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { start } from '../../src/kpctl/demo/processes.ts';

const root = join(import.meta.dirname, '../..');
const { values } = parseArgs({ options: { runs: { type: 'string', default: '5' }, settle: { type: 'string', default: '3000' } } });

interface Memory {
  readonly dirty: number;
  readonly clean: number;
  readonly resident: number;
}

/** In KiB. */
function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const field = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB`, 'mu').exec(text)?.[1]);
  return { dirty: field('Private_Dirty'), clean: field('Private_Clean'), resident: field('Rss') };
}

/** The package as `npm run build` makes it, without the sources beside it. */
function build(directory: string): void {
  const tsc = join(root, 'node_modules/.bin/tsc');
  execFileSync(tsc, ['-p', join(root, 'tsconfig.build.json'), '--outDir', join(directory, 'dist')], { stdio: 'inherit' });
  cpSync(join(root, 'bin'), join(directory, 'bin'), { recursive: true });
  cpSync(join(root, 'package.json'), join(directory, 'package.json'));
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
}

/** Of kpeering, its supervisor, and kpeering once it is scraped. */
async function once(directory: string, mode: 'redirect' | 'tproxy'): Promise<readonly Memory[]> {
  const rules = join(directory, 'rules.json');
  writeFileSync(
    rules,
    JSON.stringify({
      version: 1,
      mode,
      reason: 'a benchmark',
      backend: 'nft',
      tcp: mode === 'tproxy' ? { '8080': 15_500 } : { '*': 15_306 },
      udp: {},
      except: [],
      outbound: [],
      dns: false,
      keepSource: false,
      families: ['ipv4', 'ipv6'],
      aliases: {},
    }),
  );
  const ports = ['--inbound-port', '0', '--tunnel-port', '0', '--health-port', '0', '--health-host', '127.0.0.1'];
  const environment = { PATH: process.env['PATH'], KPEERING_NODE: process.execPath, KPEERING_RULES_FILE: rules };
  const supervisor = start(['sh', join(directory, 'bin/supervise.sh'), 'sidecar', ...ports], environment);
  try {
    const started = await supervisor.waitForLine(/"mode":/u);
    const port = /"health":(\d+)/u.exec(started)?.[1];
    await sleep(Number(values.settle));
    const [child = ''] = readFileSync(`/proc/${supervisor.pid}/task/${supervisor.pid}/children`, 'latin1').trim().split(' ');
    const idle = [memoryOf(Number(child)), memoryOf(supervisor.pid)];
    for (let scrape = 0; scrape < 10; scrape++) await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    await sleep(Number(values.settle));
    return [...idle, memoryOf(Number(child))];
  } finally {
    supervisor.kill('SIGTERM');
    await supervisor.exited;
  }
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? NaN;
}

const directory = mkdtempSync(join(tmpdir(), 'kpeering-idle-'));
try {
  build(directory);
  for (const mode of ['redirect', 'tproxy'] as const) {
    const runs: (readonly Memory[])[] = [];
    for (let run = 0; run < Number(values.runs); run++) runs.push(await once(directory, mode));
    for (const [index, name] of ['kpeering', 'its supervisor', 'kpeering, scraped'].entries()) {
      const of = (key: keyof Memory): string => (median(runs.map((run) => run[index]?.[key] ?? NaN)) / 1024).toFixed(1);
      process.stdout.write(
        `${mode}: ${name}: private ${of('dirty')} MiB, private clean ${of('clean')} MiB, resident ${of('resident')} MiB\n`,
      );
    }
  }
} finally {
  rmSync(directory, { recursive: true });
}
