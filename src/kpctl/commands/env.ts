import { Option, type Command } from 'commander';
import { findWorkload, isReady, parseWorkload, podsOf, workloadLabel } from '../../cluster/workloads.ts';
import { Failure } from '../../platform/errors.ts';
import { environmentFormats, formatEnvironment, overrideEnvironment, type EnvironmentFormat } from '../../simulator/environment/index.ts';
import { environmentOverrides, withEnvironmentOptions, type EnvironmentOptions } from '../environment-options.ts';
import { openCluster, withClusterOptions, type ClusterOptions } from '../options.ts';
import type { Terminal } from '../terminal.ts';
import { containerEnvironment } from '../workloads/environment.ts';

interface EnvOptions extends ClusterOptions, EnvironmentOptions {
  readonly container?: string;
  readonly output: EnvironmentFormat;
}

/** `kpctl env WORKLOAD`: the environment of a workload's container, as the kubelet computes it. */
export function envCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('env')
    .description("print the environment of a workload's container, as the kubelet computes it")
    .argument('<workload>', 'NAME or TYPE/NAME')
    .option('-c, --container <name>', 'the container (default: the default-container annotation, else the first)')
    .addOption(new Option('-o, --output <format>', 'how to print it').choices(environmentFormats).default('dotenv'));
  withClusterOptions(withEnvironmentOptions(command)).action(async (name: string, options: EnvOptions) => {
    const overrides = environmentOverrides(options);
    await using cluster = await openCluster(options);
    const workload = await findWorkload(cluster, parseWorkload(name));
    const pods = await podsOf(cluster, workload);
    // a pod that is not ready has an environment too; a ready one is the better example
    const pod = pods.find((candidate) => isReady(candidate)) ?? pods[0];
    if (pod === undefined) {
      throw new Failure('NO_READY_POD', `${workloadLabel(workload)} in namespace ${workload.namespace} has no pod`, {
        remedy: 'scale it up: some variables are known only of a pod',
      });
    }
    const environment = await containerEnvironment(cluster, pod, options.container);
    for (const warning of environment.warnings) terminal.warn(warning);
    const variables = overrideEnvironment(environment.variables, overrides, environment.variables);
    const { text, leftOut } = formatEnvironment(variables, options.output);
    if (leftOut.length > 0) terminal.warn(`${options.output} cannot say ${leftOut.join(', ')}: left out; -o json can`);
    terminal.result(text.trimEnd());
  });
}
