import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { runningInstances, runningUp } from '../control/client.ts';
import type { StatusReport, UpStatus } from '../control/messages.ts';
import { journalDirectory } from '../../simulator/machine/paths.ts';
import { shortTarget } from '../links/targets.ts';
import { outputFormat, withOutputOption } from '../options.ts';
import { printResult, table, type Terminal } from '../terminal.ts';
import { describeJoined } from '../up/joined.ts';

/** An `up` of this machine that is another user's, or does not answer. */
interface ForeignUp {
  readonly kind: 'up';
  /** Of its helper. */
  readonly pid: number;
  readonly user: string;
  /** ISO 8601. */
  readonly since: string;
}

/** `kpctl status`: this machine's `up`, and this user's running intercepts and runs on it. */
export function statusCommand(program: Command, terminal: Terminal): void {
  withOutputOption(program.command('status').description('show this machine\'s "up" and this user\'s running intercepts and runs')).action(
    async (options: { output?: string }) => {
      const [up, instances] = await Promise.all([upNow(), runningInstances()]);
      const reports = instances.map((instance) => instance.report);
      printResult(terminal, outputFormat(options), [...(up === undefined ? [] : [up]), ...reports], () => [
        ...(up === undefined ? [] : linesOf(up)),
        ...(up === undefined || reports.length === 0 ? [] : ['']),
        ...(reports.length > 0
          ? table(header, reports.flatMap(rowsOf))
          : up === undefined
            ? ['nothing is intercepted and nothing runs']
            : []),
      ]);
    },
  );
}

async function upNow(): Promise<UpStatus | ForeignUp | undefined> {
  const own = await runningUp();
  if (own !== undefined || !existsSync(journalDirectory)) return own;
  const { owner } = await import('../../simulator/machine/owner.ts');
  const other = owner();
  return other === undefined ? undefined : { kind: 'up', pid: other.pid, user: other.name, since: other.since.toISOString() };
}

function linesOf(up: UpStatus | ForeignUp): string[] {
  if ('user' in up) return [`up: of ${up.user}, since ${up.since} (process ${up.pid})`];
  const [first = '', ...rest] = describeJoined(up);
  const flows = up.activeFlows === 1 ? '1 flow' : `${up.activeFlows} flows`;
  return [
    `up: ${first}`,
    ...[
      `since ${up.since} (process ${up.pid}); the tunnel is ${up.tunnel}${up.transport === undefined ? '' : `, by ${up.transport}`}; ${flows}`,
      ...rest,
    ].map((line) => `  ${line}`),
  ];
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
