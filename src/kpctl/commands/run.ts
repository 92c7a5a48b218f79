import { Option, type Command } from 'commander';
import { Failure, ExitCode } from '../../platform/errors.ts';
import type { Interruption } from '../interruption.ts';
import {
  parsePortMapping,
  withClusterOptions,
  withSidecarOptions,
  type ClusterOptions,
  type PortMapping,
  type SidecarOptions,
} from '../options.ts';
import { runInCluster } from '../run/run-in-cluster.ts';
import type { Terminal } from '../terminal.ts';

interface RunOptions extends ClusterOptions, SidecarOptions {
  readonly workload?: string;
  readonly port: PortMapping[];
  readonly container?: string;
  /** False: `--no-proof`. */
  readonly proof: boolean;
}

/** `kpctl run -- COMMAND`: one command in the cluster's network, names and environment, without root. */
export function runCommand(program: Command, terminal: Terminal, interruption: Interruption, finish: (code: number) => void): void {
  const command = program
    .command('run')
    .description("run one command in the cluster's network and DNS; with -w in a workload's environment too")
    .usage('[options] -- COMMAND [ARGUMENT...]')
    .argument('<command...>', 'the command and its arguments')
    .option('-w, --workload <workload>', 'leave from a pod of this workload, and take its environment')
    .addOption(
      new Option('-p, --port <[LOCAL:]REMOTE[/udp]>', "also claim this port of the workload, for the command's own server (with -w)")
        .argParser(parsePortMapping)
        .default([], 'none'),
    )
    .option('-c, --container <name>', 'whose environment (default: the default-container annotation, else the first)')
    .option('--no-proof', 'claim without the proof that the pods capture what comes from outside')
    .passThroughOptions();
  withClusterOptions(withSidecarOptions(command)).action(async (argv: string[], options: RunOptions) => {
    if (options.workload === undefined && (options.port.length > 0 || options.container !== undefined)) {
      throw new Failure('WORKLOAD_REQUIRED', `${options.port.length > 0 ? '--port' : '--container'} needs a workload`, {
        remedy: 'name it: kpctl run -w WORKLOAD --port [LOCAL:]REMOTE -- COMMAND',
        exitCode: ExitCode.kpctlFailed,
      });
    }
    finish(
      await runInCluster(
        {
          argv,
          cluster: options,
          workload: options.workload,
          ports: options.port,
          container: options.container,
          proof: options.proof,
          sidecar: options,
        },
        terminal,
        interruption,
      ),
    );
  });
}
