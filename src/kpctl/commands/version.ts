import type { Command } from 'commander';
import { version } from '../../platform/version.ts';
import { outputFormat, withOutputOption } from '../options.ts';
import { printResult, type Terminal } from '../terminal.ts';

/** `kpctl version`: kpctl's own version and the Node it runs on. */
export function versionCommand(program: Command, terminal: Terminal): void {
  withOutputOption(program.command('version').description('print the version of kpctl')).action((options: { output?: string }) => {
    const value = { kpctl: version, node: process.version, platform: `${process.platform}-${process.arch}` };
    printResult(terminal, outputFormat(options), value, () => [`kpctl ${version} (Node ${process.version}, ${value.platform})`]);
  });
}
