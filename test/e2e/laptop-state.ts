import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../src/kpctl/demo/processes.ts';
import type { Stage } from '../../src/kpctl/demo/stage.ts';
import { requireProgram } from '../../src/platform/programs.ts';

type Laptop = Pick<Stage, 'laptopPrefix' | 'environment'>;

/** What kpctl could leave on the laptop, by kind: lines each. */
export type LaptopState = ReadonlyMap<string, readonly string[]>;

/** The laptop's rules, links, addresses, routes and resolver, and the processes and files of the stage. */
export async function laptopState(laptop: Laptop): Promise<LaptopState> {
  const ask = async (program: string, debianPackage: string, ...argv: string[]): Promise<string[]> => {
    const outcome = await run([...laptop.laptopPrefix, requireProgram(program, debianPackage), ...argv], laptop.environment);
    if (outcome.code !== 0) throw new Error(`${program} ${argv.join(' ')}: ${outcome.stderr}`);
    // counters move by themselves, and an address that was learnt expires
    const steady = outcome.stdout.replaceAll(/counter packets \d+ bytes \d+/g, 'counter').replaceAll(/ expires \S+| \d+sec/g, '');
    return steady.split('\n').filter((line) => line.trim() !== '');
  };
  return new Map([
    ['nft rules', await ask('nft', 'nftables', 'list', 'ruleset')],
    ['addresses', await ask('ip', 'iproute2', '-brief', 'address')],
    ['policy routes', await ask('ip', 'iproute2', 'rule')],
    ['routes', await ask('ip', 'iproute2', 'route', 'show', 'table', 'all')],
    ['resolv.conf', await ask('cat', 'coreutils', '/etc/resolv.conf')],
    ['processes', processesOf(laptop)],
    // npm's own: it turns Node's compile cache on
    ['temporary files', files(laptop.environment['TMPDIR']).filter((name) => name !== 'node-compile-cache')],
    ['sockets', files(laptop.environment['XDG_RUNTIME_DIR'], 'kpctl')],
  ]);
}

/**
 * Lines that came or went since `before`, `+` or `-` first; empty: nothing is left. A process that was killed a moment
 * ago is given time to end.
 */
export async function leftOnLaptop(laptop: Laptop, before: LaptopState): Promise<string[]> {
  for (let attempt = 0; ; attempt += 1) {
    const after = await laptopState(laptop);
    const left = differences(before, after);
    if (left.length === 0 || attempt === 50) return left;
    await delay(100);
  }
}

/** Lines that came or went between two states, `+` or `-` first. */
export function differences(before: LaptopState, after: LaptopState): string[] {
  return [...before].flatMap(([kind, lines]) => {
    const now = after.get(kind) ?? [];
    const come = now.filter((line) => !lines.includes(line)).map((line) => `+ ${kind}: ${line}`);
    const gone = lines.filter((line) => !now.includes(line)).map((line) => `- ${kind}: ${line}`);
    return [...come, ...gone];
  });
}

/** Processes that carry the stage's mark in their environment: kpctl, its helpers in their namespaces, its command. */
function processesOf({ environment }: Laptop): string[] {
  const mark = `KPEERING_E2E_STAGE=${environment['KPEERING_E2E_STAGE']}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark)) return [];
        return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()}`];
      } catch {
        return []; // it has ended
      }
    });
}

function files(...path: (string | undefined)[]): string[] {
  try {
    return readdirSync(join(...path.map((part) => part ?? '')));
  } catch {
    return [];
  }
}
