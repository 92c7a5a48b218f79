import type { Command } from 'commander';
import { runningInstances } from '../control/client.ts';
import type { StatusReport } from '../control/messages.ts';
import { shortTarget } from '../links/targets.ts';
import { outputFormat, withOutputOption } from '../options.ts';
import { printResult, table, type Terminal } from '../terminal.ts';

/** `kpctl status`: this user's running intercepts and runs on this machine. */
export function statusCommand(program: Command, terminal: Terminal): void {
  withOutputOption(program.command('status').description("show this user's running intercepts and runs")).action(
    async (options: { output?: string }) => {
      const reports = (await runningInstances()).map((instance) => instance.report);
      printResult(terminal, outputFormat(options), reports, () =>
        reports.length === 0 ? ['nothing is intercepted and nothing runs'] : table(header, reports.flatMap(rowsOf)),
      );
    },
  );
}

const header = ['PID', 'KIND', 'CONTEXT', 'NAMESPACE', 'WORKLOAD', 'PORTS', 'POD', 'TUNNEL', 'CLAIMED', 'FLOWS', 'TRANSPORT', 'COMMAND'];

/** One row a pod; a process with no pod yet has one row too. */
function rowsOf(report: StatusReport): string[][] {
  const inbound = report.ports.map(({ local, remote, protocol }) => `${local}:${remote}${protocol === 'udp' ? '/udp' : ''}`);
  const outbound = report.outbound.map(({ local, remote }) => `${local}:${remote}`);
  const ports = [...inbound, ...outbound].join(',') || '-';
  const start = [String(report.pid), report.kind, report.context, report.namespace, report.workload ?? '(gateway)', ports];
  const end = [report.transport ?? '-', report.command?.join(' ') ?? '-'];
  if (report.pods.length === 0) return [[...start, '-', '-', '-', '0', ...end]];
  return report.pods.map((pod) => [
    ...start,
    pod.name,
    pod.tunnel,
    pod.claimed.map(shortTarget).join(',') || '-',
    String(pod.activeFlows),
    ...end,
  ]);
}
