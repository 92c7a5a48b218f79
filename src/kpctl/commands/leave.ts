import type { Command } from 'commander';
import { parseWorkload } from '../../cluster/workloads.ts';
import { Failure } from '../../platform/errors.ts';
import { runningInstances, type RunningInstance } from '../control/client.ts';
import { outputFormat, withOutputOption } from '../options.ts';
import { printResult, type Terminal } from '../terminal.ts';

/**
 * `kpctl leave WORKLOAD`: stops this user's intercept of a workload from another terminal. It asks the running kpctl
 * over its socket and needs no cluster.
 */
export function leaveCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('leave')
    .description("stop this user's intercept of a workload, from another terminal")
    .argument('<workload>', 'NAME or TYPE/NAME, as it was given to kpctl intercept')
    .option('-n, --namespace <namespace>', 'only intercepts in this namespace')
    .option('--context <context>', 'only intercepts in this context');
  withOutputOption(command).action(async (workload: string, options: { namespace?: string; context?: string; output?: string }) => {
    const instances = (await runningInstances()).filter((instance) => instance.report.kind === 'intercept');
    const matching = instances.filter(({ report }) => {
      const inScope =
        (options.namespace === undefined || report.namespace === options.namespace) &&
        (options.context === undefined || report.context === options.context);
      return inScope && report.workload !== undefined && sameWorkload(report.workload, workload);
    });
    if (matching.length === 0) throw notIntercepted(workload, instances);
    await Promise.all(matching.map((instance) => instance.leave()));
    const left = matching.map(({ report }) => ({ workload: report.workload ?? workload, namespace: report.namespace, pid: report.pid }));
    printResult(terminal, outputFormat(options), left, () =>
      left.map((one) => `left ${one.workload} in ${one.namespace} (process ${one.pid})`),
    );
  });
}

/** Whether `deployment/web` (what runs) is what the user calls `web`, `deploy/web` or `Deployment/web`. */
export function sameWorkload(running: string, asked: string): boolean {
  const one = parseWorkload(running);
  const other = parseWorkload(asked);
  return one.name === other.name && (other.type === undefined || one.type === other.type);
}

function notIntercepted(workload: string, instances: readonly RunningInstance[]): Failure {
  const others = instances.map(({ report }) => `${report.workload ?? '?'} in ${report.namespace}`).join(', ');
  return new Failure('NOT_INTERCEPTED', `no kpctl of this user intercepts ${workload}`, {
    remedy: others === '' ? 'nothing is intercepted: see "kpctl status"' : `intercepted now: ${others}`,
  });
}
