import type { Command } from 'commander';
import { ExitCode } from '../../platform/errors.ts';
import type { Interruption } from '../interruption.ts';
import { openCluster, outputFormat, withClusterOptions, withOutputOption, type ClusterOptions } from '../options.ts';
import { Progress } from '../terminal-progress.ts';
import { printResult, type Terminal } from '../terminal.ts';

/** `kpctl doctor [WORKLOAD]`: what is wrong, and what to do about it. Exit code 1 where there is a problem. */
export function doctorCommand(program: Command, terminal: Terminal, interruption: Interruption, finish: (code: number) => void): void {
  const command = program
    .command('doctor')
    .description('look at everything that kpctl depends on, here and in the cluster, and say what is wrong and what to do')
    .argument('[workload]', 'NAME or TYPE/NAME: look at the pods of this workload only (default: all of the namespace)');
  withOutputOption(withClusterOptions(command)).action(
    async (workload: string | undefined, options: ClusterOptions & { readonly output?: string }) => {
      // It imports much that other commands do without.
      const { examine, reportLines } = await import('../doctor/index.ts');
      const signal = interruption.listen();
      const progress = new Progress(terminal, 'looking');
      const onEnded = (left: readonly string[]): void => {
        if (left.length > 0) progress.update(`looking at ${left.join(', ')}`);
      };
      try {
        const findings = await examine({ open: async () => await openCluster(options), workload }, { signal, onEnded });
        progress.done();
        printResult(terminal, outputFormat(options), findings, () => reportLines(findings, terminal.colours === true));
        if (findings.some(({ verdict }) => verdict === 'problem')) finish(ExitCode.failed);
      } finally {
        progress.done();
      }
    },
  );
}
