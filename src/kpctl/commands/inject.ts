import type { Command } from 'commander';
import { findWorkload, parseWorkload, workloadLabel } from '../../cluster/workloads.ts';
import { Failure } from '../../platform/errors.ts';
import { parseDuration } from '../duration.ts';
import {
  DEFAULT_TIMEOUT_MILLISECONDS,
  ejectWorkload,
  howToReplace,
  injectWorkload,
  injectionTargets,
  parseOptions,
  type InjectContext,
  type InjectResult,
  type Target,
} from '../inject/index.ts';
import type { Interruption } from '../interruption.ts';
import { openCluster, outputFormat, withClusterOptions, withOutputOption, type ClusterOptions } from '../options.ts';
import { standardQuestions } from '../questions.ts';
import { printResult, type Terminal } from '../terminal.ts';

interface RolloutOptions extends ClusterOptions {
  readonly yes?: boolean;
  /** False: `--no-wait`. */
  readonly wait: boolean;
  readonly timeout?: number;
  readonly output?: string;
}

interface InjectCommandOptions extends RolloutOptions {
  readonly set?: readonly string[];
}

type Act = (
  context: InjectContext,
  target: Target,
  options: { readonly wait: boolean; readonly timeoutMilliseconds: number },
) => Promise<InjectResult>;

/** `kpctl inject WORKLOAD`: a sidecar for every pod of a workload, by the label on its template. */
export function injectCommand(program: Command, terminal: Terminal, interruption: Interruption): void {
  const command = program
    .command('inject')
    .description("give a workload's pods a sidecar: sets the label on its pod template, and waits until its pods are made anew")
    .option(
      '--set <OPTION=VALUE>',
      'an option of the injection, as mode=redirect or inbound-ports=8080 (docs/injection.md); OPTION= takes it away',
      (text: string, previous: readonly string[] | undefined): readonly string[] | undefined => [...(previous ?? []), text],
    );
  withRolloutOptions(command).action(async (names: readonly string[], options: InjectCommandOptions) => {
    const given = parseOptions(options.set ?? []);
    const act: Act = async (context, target, rollout) => await injectWorkload(context, target, { ...rollout, options: given });
    await actOn(names, options, { terminal, interruption, act, verb: 'injected' });
  });
}

/** `kpctl eject WORKLOAD`: the way back. */
export function ejectCommand(program: Command, terminal: Terminal, interruption: Interruption): void {
  const command = program
    .command('eject')
    .description("take the sidecar out of a workload's pods: takes the label and the options off its pod template, and waits");
  withRolloutOptions(command).action(async (names: readonly string[], options: RolloutOptions) => {
    await actOn(names, options, { terminal, interruption, act: ejectWorkload, verb: 'ejected' });
  });
}

function withRolloutOptions(command: Command): Command {
  command
    .argument('<workload...>', 'NAME or TYPE/NAME: deployment/web, sts/db, service/web (all workloads behind it) …')
    .option('-y, --yes', 'do not ask before pods are restarted')
    .option('--no-wait', 'do not wait for the pods to be made anew')
    .option('--timeout <time>', 'how long to wait for each workload: 90s, 1h (default: 5m)', parseDuration);
  return withOutputOption(withClusterOptions(command));
}

interface Action {
  readonly terminal: Terminal;
  readonly interruption: Interruption;
  readonly act: Act;
  readonly verb: 'injected' | 'ejected';
}

async function actOn(names: readonly string[], options: RolloutOptions, { terminal, interruption, act, verb }: Action): Promise<void> {
  const signal = interruption.listen();
  await using cluster = await openCluster(options);
  const references = names.map((name) => parseWorkload(name));
  const targets: Target[] = [];
  for (const reference of references) {
    const workload = await findWorkload(cluster, reference, { signal });
    for (const target of await injectionTargets(cluster, workload, { ejecting: verb === 'ejected', signal })) {
      if (!targets.some(({ type, name }) => type === target.type && name === target.name)) targets.push(target);
    }
  }
  // Where nobody can be asked, the command says all: it was called for just this.
  const yes = options.yes === true || !standardQuestions.interactive;
  const results: InjectResult[] = [];
  try {
    for (const target of targets) {
      const context = { cluster, terminal, questions: standardQuestions, yes, signal };
      results.push(
        await act(context, target, { wait: options.wait, timeoutMilliseconds: options.timeout ?? DEFAULT_TIMEOUT_MILLISECONDS }),
      );
    }
  } catch (error) {
    // What was done before the one that failed is told all the same.
    if (!(error instanceof Failure) || results.length === 0) throw error;
    print(terminal, options, results, verb);
    throw error;
  }
  print(terminal, options, results, verb);
}

function print(terminal: Terminal, options: RolloutOptions, results: readonly InjectResult[], verb: Action['verb']): void {
  const rows = results.map(({ target, state, pods, pending }) => ({
    namespace: target.namespace,
    workload: workloadLabel(target.workload),
    state,
    pods,
    pending,
  }));
  printResult(terminal, outputFormat(options), rows, () => results.flatMap((result) => sentences(result, verb)));
}

function sentences({ target, state, pods, pending }: InjectResult, verb: Action['verb']): string[] {
  const label = workloadLabel(target.workload);
  const set = verb === 'injected' ? 'has the label' : 'has not the label any more';
  const left = pending.length === 0 ? [] : [`still to be replaced: ${pending.join(', ')}`];
  switch (state) {
    case 'done':
      if (pods.length === 0 && pending.length === 0) return [`${label} is ${verb}; it has no pods now, and those that come will follow`];
      return [`${label} is ${verb}: ${pods.length === 1 ? '1 pod' : `${pods.length} pods`}`, ...left];
    case 'already':
      if (verb === 'ejected') return [`${label} has no injected sidecar: nothing to do`];
      return [pods.length === 0 ? `${label} is injected already; it has no pods now` : `${label} is injected already`];
    case 'in-manifest':
      return [`${label} has the sidecar in its own manifest: nothing to do`];
    case 'not-waited':
      return [`${label} ${set}; its pods are being made anew: "kubectl -n ${target.namespace} rollout status ${label}"`];
    case 'paused':
      return [
        `${label} ${set}, and is paused: its pods follow when it is resumed: "kubectl -n ${target.namespace} rollout resume ${label}"`,
      ];
    case 'by-hand':
      return pending.length === 0 ? [`${label} ${set}`] : [`${label} ${set}; ${howToReplace(target)}`, ...left];
  }
}
