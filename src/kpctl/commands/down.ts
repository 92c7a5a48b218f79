import type { Command } from 'commander';
import { requireLinux } from '../../platform/linux.ts';
import { outputFormat, withOutputOption } from '../options.ts';
import { printResult, type Terminal } from '../terminal.ts';

/** `kpctl down`: ends `kpctl up`, and repairs what a killed one has left. Without root for whoever has called `sudo kpctl up`. */
export function downCommand(program: Command, terminal: Terminal): void {
  withOutputOption(program.command('down').description('end "kpctl up": names and network are as before')).action(
    async (options: { output?: string }) => {
      requireLinux('kpctl down');
      const { takeDown } = await import('../up/take-down.ts');
      const outcome = await takeDown();
      printResult(terminal, outputFormat(options), outcome, () => {
        if (outcome.ended !== undefined)
          return [...outcome.repaired, `down: names and network are as before (process ${outcome.ended} has ended)`];
        return outcome.repaired.length === 0 ? ['kpctl is not up'] : outcome.repaired;
      });
    },
  );
}
