import type { Command } from 'commander';
import { findWorkload, parseWorkload, workloadLabel, type Workload } from '../../cluster/workloads.ts';
import type { Cluster } from '../../cluster/types.ts';
import { ExitCode } from '../../platform/errors.ts';
import { version } from '../../platform/version.ts';
import { serveControl } from '../control/server.ts';
import type { StatusReport } from '../control/messages.ts';
import { followPods } from '../intercept/follow.ts';
import { Interception } from '../intercept/interception.ts';
import { localServerListens } from '../intercept/local-server.ts';
import { resolveRoutes, type ResolvedPorts } from '../intercept/routes.ts';
import type { Interruption } from '../interruption.ts';
import { describeLinkEvent } from '../links/describe-event.ts';
import { laptopHello } from '../links/identity.ts';
import { Notices } from '../links/notices.ts';
import { podReports } from '../links/pod-report.ts';
import {
  openCluster,
  outputFormat,
  parsePortMapping,
  withClusterOptions,
  withOutputOption,
  type ClusterOptions,
  type PortMapping,
} from '../options.ts';
import { printEvent, type OutputFormat, type Terminal } from '../terminal.ts';
import { attachablePods } from '../workloads/attachable.ts';

interface InterceptOptions extends ClusterOptions {
  readonly port: PortMapping[];
  readonly output?: string;
}

/** How long active connections may go on after Ctrl-C. */
const DRAIN_MILLISECONDS = 5_000;

/** `kpctl intercept WORKLOAD --port [LOCAL:]REMOTE`: the cluster's calls of a workload's port reach a local process. */
export function interceptCommand(program: Command, terminal: Terminal, interruption: Interruption, finish: (code: number) => void): void {
  const command = program
    .command('intercept')
    .description("let the cluster's calls of a workload's port reach a local process, until Ctrl-C")
    .argument('<workload>', 'NAME or TYPE/NAME: deployment/web, sts/db, service/web …')
    .requiredOption(
      '-p, --port <[LOCAL:]REMOTE>',
      "REMOTE: a container port's number or name; for service/NAME a Service port",
      parsePortMapping,
    );
  withOutputOption(withClusterOptions(command)).action(async (workload: string, options: InterceptOptions) => {
    finish(await intercept(workload, options, terminal, interruption));
  });
}

async function intercept(name: string, options: InterceptOptions, terminal: Terminal, interruption: Interruption): Promise<number> {
  const interrupted = interruption.listen();
  const format = outputFormat(options);
  await using cluster = await openCluster(options);
  const reference = parseWorkload(name);
  const [workload, hello] = await Promise.all([
    findWorkload(cluster, reference, { signal: interrupted }),
    laptopHello(cluster, { signal: interrupted }),
  ]);
  const pods = await attachablePods(cluster, workload, { signal: interrupted });
  const resolved = resolveRoutes(workload, pods, options.port);
  for (const warning of resolved.warnings) terminal.warn(warning);
  await warnOfSilentPorts(resolved, terminal);

  const left = new AbortController();
  await using interception = await Interception.start(
    {
      cluster,
      hello,
      pods: resolved.pods,
      notices: new Notices((line) => terminal.warn(line)),
      onEvent: (pod, event) => {
        if (format === 'text') terminal.progress(describeLinkEvent(pod, event));
        else printEvent(terminal, format, { event: event.kind, pod, ...event }, '');
      },
    },
    { signal: interrupted },
  );
  await using _following = followPods({ cluster, workload, ports: resolved, interception, warn: (line) => terminal.warn(line) });
  const since = new Date().toISOString();
  await using _control = await serveControl({
    status: () => statusOf(cluster, workload, resolved, interception, since),
    leave: () => left.abort(),
  });
  printRoutes(terminal, format, resolved);

  await aborted(AbortSignal.any([interrupted, left.signal]));
  if (interception.activeFlows > 0) {
    const connections = interception.activeFlows === 1 ? '1 active connection has' : `${interception.activeFlows} active connections have`;
    terminal.progress(`stopped claiming; ${connections} ${DRAIN_MILLISECONDS / 1000} s to end`);
  }
  await interception.drain({ signal: AbortSignal.timeout(DRAIN_MILLISECONDS) });
  return interrupted.aborted ? ExitCode.interrupted : ExitCode.done;
}

async function warnOfSilentPorts(resolved: ResolvedPorts, terminal: Terminal): Promise<void> {
  for (const local of new Set(resolved.mappings.map((mapping) => mapping.local))) {
    if (!(await localServerListens(local))) {
      terminal.warn(`nothing listens on 127.0.0.1:${local} yet: callers are reset until something does`);
    }
  }
}

/** One line per pod and port, then `ready`. */
function printRoutes(terminal: Terminal, format: OutputFormat, resolved: ResolvedPorts): void {
  for (const { pod, routes } of resolved.pods) {
    for (const [port, local] of routes) {
      printEvent(terminal, format, { event: 'claimed', pod: pod.name, port, local }, `${pod.name} :${port} → 127.0.0.1:${local}`);
    }
  }
  printEvent(terminal, format, { event: 'ready' }, 'ready');
}

function statusOf(cluster: Cluster, workload: Workload, resolved: ResolvedPorts, interception: Interception, since: string): StatusReport {
  return {
    pid: process.pid,
    kind: 'intercept',
    version,
    context: cluster.context,
    server: cluster.server,
    namespace: workload.namespace,
    workload: workloadLabel(workload),
    since,
    ports: [...resolved.mappings],
    pods: podReports(interception.links),
  };
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
