import { Option, type Command } from 'commander';
import { Failure, ExitCode } from '../../platform/errors.ts';
import { environmentOverrides, withEnvironmentOptions, type EnvironmentOptions } from '../environment-options.ts';
import type { Interruption } from '../interruption.ts';
import {
  parsePortMapping,
  withClusterOptions,
  withSidecarOptions,
  type ClusterOptions,
  type PortMapping,
  type SidecarOptions,
} from '../options.ts';
import { run, runModes, type RunMode } from '../run/mode.ts';
import type { Terminal } from '../terminal.ts';

interface RunOptions extends ClusterOptions, SidecarOptions, EnvironmentOptions {
  readonly mode: RunMode;
  readonly workload?: string;
  readonly port: PortMapping[];
  readonly container?: string;
  readonly files?: boolean;
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
    .option('-c, --container <name>', 'whose environment and files (default: the default-container annotation, else the first)')
    .option(
      '--files',
      "put the container's ConfigMaps, Secrets and service account token at their own paths, for the command only (with -w)",
    )
    .addOption(
      new Option(
        '--mode <mode>',
        'network: all of its connections and names. proxy: by proxy variables, without namespaces; not all (kpctl help proxy-mode)',
      )
        .choices(runModes)
        .default('auto', 'network on Linux, elsewhere proxy'),
    )
    .option('--no-proof', 'claim without the proof that the pods capture what comes from outside')
    .passThroughOptions();
  withClusterOptions(withSidecarOptions(withEnvironmentOptions(command))).action(async (argv: string[], options: RunOptions) => {
    const needing = [
      ['--port', options.port.length > 0],
      ['--container', options.container !== undefined],
      ['--files', options.files === true],
    ] as const;
    const given = needing.find(([, isGiven]) => isGiven)?.[0];
    if (options.workload === undefined && given !== undefined) {
      throw new Failure('WORKLOAD_REQUIRED', `${given} needs a workload`, {
        remedy: `name it: kpctl run -w WORKLOAD ${given} -- COMMAND`,
        exitCode: ExitCode.kpctlFailed,
      });
    }
    finish(
      await run(
        options.mode,
        {
          argv,
          cluster: options,
          workload: options.workload,
          ports: options.port,
          container: options.container,
          files: options.files === true,
          environment: environmentOverrides(options),
          proof: options.proof,
          sidecar: options,
        },
        terminal,
        interruption,
      ),
    );
  });
}
