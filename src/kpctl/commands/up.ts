import { Option, type Command } from 'commander';
import { requireLinux } from '../../platform/linux.ts';
import type { Interruption } from '../interruption.ts';
import { outputFormat, withClusterOptions, withOutputOption, type ClusterOptions } from '../options.ts';
import type { Terminal } from '../terminal.ts';
import { checkedNetworks } from '../up/capture-plan.ts';

interface UpOptions extends ClusterOptions {
  readonly workload?: string;
  readonly also: readonly string[];
  readonly never: readonly string[];
  readonly foreground?: boolean;
  readonly output?: string;
}

/** `sudo kpctl up`: every program of this machine is in the cluster, by its names and addresses, until `kpctl down`. */
export function upCommand(program: Command, terminal: Terminal, interruption: Interruption, finish: (code: number) => void): void {
  const collect = (value: string, previous: readonly string[]): string[] => [...previous, value];
  const command = program
    .command('up')
    .description('join this whole machine to the cluster: names and addresses, for every program and container (needs sudo)')
    .option('-w, --workload <workload>', 'leave from a pod of this workload (default: from the gateway)')
    .addOption(new Option('--also <cidr>', 'capture this network, too (may be repeated)').argParser(collect).default([], 'none'))
    .addOption(
      new Option('--never <cidr>', 'never capture this network; wins over everything (may be repeated)')
        .argParser(collect)
        .default([], 'none'),
    )
    .option('--foreground', 'stay, and print what happens, until Ctrl-C');
  withOutputOption(withClusterOptions(command)).action(async (options: UpOptions) => {
    requireLinux('kpctl up', { remedy: 'use kpctl run --mode proxy, for programs that can use a proxy' });
    const { namespace, context, kubeconfig, as, asGroup, transport, workload } = options;
    const request = {
      cluster: {
        ...(namespace !== undefined && { namespace }),
        ...(context !== undefined && { context }),
        ...(kubeconfig !== undefined && { kubeconfig }),
        ...(as !== undefined && { as }),
        ...(asGroup !== undefined && { asGroup }),
        ...(transport !== undefined && { transport }),
      },
      ...(workload !== undefined && { workload }),
      also: checkedNetworks('--also', options.also),
      never: checkedNetworks('--never', options.never),
    };
    const { bringUp } = await import('../up/front.ts');
    finish(await bringUp(request, { foreground: options.foreground === true, format: outputFormat(options) }, terminal, interruption));
  });
}
