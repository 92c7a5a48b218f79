import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { findProgram } from '../../platform/programs.ts';
import { runtimeDirectory } from '../../platform/runtime-directory.ts';

/** What a demo could leave on a machine, by kind: each a list of lines. */
export type MachineState = ReadonlyMap<string, readonly string[]>;

/**
 * The state of this machine that the demo must not add to: named network namespaces, links, nft rules (root only), the
 * resolver's configuration, and files in the runtime directory.
 */
export async function machineState(): Promise<MachineState> {
  const [rules, names, links] = await Promise.all([
    process.getuid?.() === 0 ? output('nft', ['list', 'ruleset']) : [],
    output('ip', ['netns', 'list']),
    output('ip', ['-brief', 'link']),
  ]);
  return new Map([
    ['network namespace', names],
    ['link', links.map((line) => line.split(/\s+/)[0]?.replace(/@.*/, '') ?? '')],
    ['nft rule', rules],
    ['resolv.conf', readLines('/etc/resolv.conf')],
    ['file', readdirSync(runtimeDirectory()).filter((name) => name.startsWith('demo'))],
  ]);
}

/**
 * What has come since, a line each. What has gone is not looked at: the demo removes nothing, and on a machine that is
 * in use other things come to their end meanwhile.
 */
export function additions(before: MachineState, after: MachineState): string[] {
  return [...after].flatMap(([kind, lines]) => {
    const known = new Set(before.get(kind));
    return lines.filter((line) => !known.has(line)).map((line) => `${kind}: ${line}`);
  });
}

/** Processes in a PID namespace (`pid:[4026532281]`, as /proc/PID/ns/pid reads), as far as this user may see them. */
export function processesIn(pidNamespace: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        if (readlinkSync(`/proc/${pid}/ns/pid`) !== pidNamespace) return [];
        return [`process: ${pid} ${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()}`];
      } catch {
        return []; // it has ended, or is another user's
      }
    });
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}

function output(name: string, argv: readonly string[]): Promise<string[]> {
  const program = findProgram(name);
  if (program === undefined) return Promise.resolve([]);
  return new Promise((resolve) => {
    execFile(program, argv, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout) => {
      // counters move by themselves
      resolve(error === null ? stdout.split('\n').map((line) => line.replace(/counter packets \d+ bytes \d+/, 'counter')) : []);
    });
  });
}
