import { Option, type Command } from 'commander';
import { installationObjects } from '../../operator/manifests/index.ts';
import { parseDuration } from '../duration.ts';
import type { Outcome } from '../install/apply.ts';
import { describeOutcome, install } from '../install/install.ts';
import { printObjects } from '../install/print-objects.ts';
import { readValues } from '../install/values.ts';
import { uninstall } from '../install/uninstall.ts';
import type { Interruption } from '../interruption.ts';
import { openCluster, outputFormat, withClusterOptions, withOutputOption, type ClusterOptions } from '../options.ts';
import { standardQuestions } from '../questions.ts';
import { printResult, type Terminal } from '../terminal.ts';

const DEFAULT_NAMESPACE = 'kpeering-system';
const DEFAULT_TIMEOUT_MILLISECONDS = 180_000;

interface InstallCommandOptions extends ClusterOptions {
  readonly values?: readonly string[];
  readonly set?: readonly string[];
  readonly registry?: string;
  readonly image?: string;
  readonly initImage?: string;
  readonly pullPolicy?: string;
  readonly gatewayReplicas?: number;
  readonly dryRun?: boolean;
  readonly timeout: number;
  readonly output?: string;
}

function collect(text: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, text];
}

function timeoutOption(description: string): Option {
  return new Option('--timeout <time>', description).argParser(parseDuration).default(DEFAULT_TIMEOUT_MILLISECONDS, '3m');
}

/** `kpctl install`: the operator, the gateway and the roles, in the cluster. */
export function installCommand(program: Command, terminal: Terminal, interruption: Interruption): void {
  const command = program
    .command('install')
    .description('install kpeering in the cluster, or bring it to other values or another version')
    .option('-f, --values <file>', 'values, as deploy/chart/values.yaml has them; may be repeated, later ones win', collect)
    .option('--set <path=value>', 'one value: operator.replicas=3; may be repeated', collect)
    .option('--registry <registry>', 'put before the names of both images: registry.example.com/team')
    .option('--image <image>', 'the image of operator, gateway and sidecars, with its tag')
    .option('--init-image <image>', 'the image of the init container, with its tag')
    .addOption(new Option('--pull-policy <policy>', 'of all images').choices(['Always', 'IfNotPresent', 'Never']))
    .addOption(new Option('--gateway-replicas <n>', 'pods of the gateway, over which laptops spread').argParser(Number))
    .option('--dry-run', 'change nothing: say what would change; with -o: print the objects, without asking the cluster')
    .addOption(timeoutOption('how long to wait until it is ready: 90s, 5m'));
  withOutputOption(withClusterOptions(command, `where to install (default: ${DEFAULT_NAMESPACE})`)).action(
    async (options: InstallCommandOptions) => {
      const { values: files = [], set = [], registry, image, initImage, pullPolicy, gatewayReplicas } = options;
      const { namespace = DEFAULT_NAMESPACE } = options;
      const installation = { namespace, values: await readValues({ files, set, registry, image, initImage, pullPolicy, gatewayReplicas }) };
      const format = outputFormat(options);
      const dryRun = options.dryRun === true;
      if (dryRun && format !== 'text') {
        printObjects(terminal, format, installationObjects(installation));
        return;
      }
      const signal = interruption.listen();
      await using cluster = await openCluster({ ...options, namespace });
      const outcomes = await install({ cluster, terminal, installation, dryRun, timeoutMilliseconds: options.timeout, signal });
      printResult(terminal, format, outcomes, () => (dryRun ? plan(outcomes) : [summary(outcomes, namespace)]));
    },
  );
}

interface UninstallCommandOptions extends ClusterOptions {
  readonly eject?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly timeout: number;
  readonly output?: string;
}

/** `kpctl uninstall`: nothing of it is left. */
export function uninstallCommand(program: Command, terminal: Terminal, interruption: Interruption): void {
  const command = program
    .command('uninstall')
    .description('take kpeering out of the cluster, as it was installed by kpctl install')
    .option('--eject', 'first take the sidecars out of the workloads that have one: restarts their pods')
    .option('--force', 'leave sidecars as they are')
    .option('-y, --yes', 'do not ask')
    .addOption(timeoutOption('how long to wait for each step: 90s, 5m'));
  withOutputOption(withClusterOptions(command, 'where it is (default: it is looked for)')).action(
    async (options: UninstallCommandOptions) => {
      const signal = interruption.listen();
      await using cluster = await openCluster(options);
      const outcomes = await uninstall({
        cluster,
        terminal,
        questions: standardQuestions,
        namespace: options.namespace,
        eject: options.eject === true,
        force: options.force === true,
        yes: options.yes === true,
        timeoutMilliseconds: options.timeout,
        signal,
      });
      const text = outcomes.length === 0 ? 'kpeering is not installed: nothing to do' : 'kpeering is uninstalled; nothing of it is left';
      printResult(terminal, outputFormat(options), outcomes, () => [text]);
    },
  );
}

function plan(outcomes: readonly Outcome[]): string[] {
  const changing = outcomes.filter(({ change }) => change !== 'unchanged');
  return changing.length === 0 ? ['nothing would change'] : changing.map((outcome) => `would be ${describeOutcome(outcome)}`);
}

function summary(outcomes: readonly Outcome[], namespace: string): string {
  const count = (change: Outcome['change']): number => outcomes.filter((outcome) => outcome.change === change).length;
  const counts = (['created', 'changed', 'deleted'] as const).flatMap((change) =>
    count(change) === 0 ? [] : [`${count(change)} ${change}`],
  );
  return `kpeering is installed in namespace ${namespace} and ready: ${counts.length === 0 ? 'nothing has changed' : counts.join(', ')}`;
}
