import type { Command } from 'commander';
import { findWorkload, parseWorkload, workloadLabel, type PortProtocol, type Workload } from '../../cluster/workloads.ts';
import type { Cluster } from '../../cluster/types.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { version } from '../../platform/version.ts';
import { serveControl } from '../control/server.ts';
import type { StatusReport } from '../control/messages.ts';
import { FlowTable } from '../flows/flow-table.ts';
import { answerFlows } from '../flows/serve-flows.ts';
import { followPods } from '../intercept/follow.ts';
import { Interception } from '../intercept/interception.ts';
import { localServerListens } from '../intercept/local-server.ts';
import { findOutboundTargets, type OutboundTargets } from '../intercept/outbound-targets.ts';
import { prepare } from '../intercept/prepare.ts';
import { describeRoute, resolveRoutes, type ResolvedPorts, type Route } from '../intercept/routes.ts';
import type { Interruption } from '../interruption.ts';
import { describeLinkEvent, linkEventFields } from '../links/describe-event.ts';
import { laptopHello } from '../links/identity.ts';
import { Notices } from '../links/notices.ts';
import { podReports } from '../links/pod-report.ts';
import {
  openCluster,
  outputFormat,
  parseOutboundMapping,
  parsePortMapping,
  withClusterOptions,
  withOutputOption,
  withSidecarOptions,
  type ClusterOptions,
  type OutboundMapping,
  type PortMapping,
  type SidecarOptions,
} from '../options.ts';
import { proofAfterJoining, proofBeforeClaims } from '../proof/before-claims.ts';
import { standardQuestions } from '../questions.ts';
import { during } from '../terminal-progress.ts';
import { printEvent, type OutputFormat, type Terminal } from '../terminal.ts';
import { attachablePods } from '../workloads/attachable.ts';

interface InterceptOptions extends ClusterOptions, SidecarOptions {
  readonly port?: PortMapping[];
  readonly outbound?: OutboundMapping[];
  /** False: `--no-proof`. */
  readonly proof: boolean;
  readonly output?: string;
}

/** How long active connections may go on after Ctrl-C. */
const DRAIN_MILLISECONDS = 5_000;

/** `kpctl intercept WORKLOAD --port [LOCAL:]REMOTE`: the cluster's calls of a workload's port reach a local process. */
export function interceptCommand(program: Command, terminal: Terminal, interruption: Interruption, finish: (code: number) => void): void {
  const command = program
    .command('intercept')
    .description("let the cluster's calls of a workload's port, or the workload's own calls, reach a local process, until Ctrl-C")
    .argument('<workload>', 'NAME or TYPE/NAME: deployment/web, sts/db, service/web …')
    .option(
      '-p, --port <[LOCAL:]REMOTE[/udp]>',
      "REMOTE: a container port's number or name; for service/NAME a Service port",
      parsePortMapping,
    )
    .option(
      '--outbound <[LOCAL:]HOST:PORT>',
      "the workload's own TCP calls of a Service (name, name.namespace) or an IP address",
      parseOutboundMapping,
    )
    .option('--no-proof', 'claim without the proof that the pods capture what comes from outside');
  withOutputOption(withClusterOptions(withSidecarOptions(command))).action(async (workload: string, options: InterceptOptions) => {
    finish(await intercept(workload, options, terminal, interruption));
  });
}

async function intercept(name: string, options: InterceptOptions, terminal: Terminal, interruption: Interruption): Promise<number> {
  const { port = [], outbound: calls = [] } = options;
  if (port.length === 0 && calls.length === 0 && options.replace === undefined) {
    throw new Failure('PORT_REQUIRED', 'intercept needs --port or --outbound', {
      remedy: `name what to claim: kpctl intercept ${name} --port [LOCAL:]REMOTE, or --outbound [LOCAL:]HOST:PORT`,
      exitCode: ExitCode.usage,
    });
  }
  const interrupted = interruption.listen();
  const abort = { signal: interrupted };
  const format = outputFormat(options);
  await using cluster = await openCluster(options);
  const reference = parseWorkload(name);
  const [workload, hello] = await during(
    terminal,
    `looking for ${name}`,
    async () => await Promise.all([findWorkload(cluster, reference, abort), laptopHello(cluster, abort)]),
  );
  const context = { cluster, workload, terminal, questions: standardQuestions, yes: options.yes === true, ports: port };
  await using prepared = await prepare({ ...context, image: options.image, ...abort }, options);
  const pods = await attachablePods(cluster, workload, abort);
  const resolved = resolveRoutes(workload, pods, port);
  await using outbound = await findOutboundTargets(cluster, calls, { namespace: workload.namespace, ...abort });
  await warnOfSilentPorts(resolved, outbound, terminal);

  const left = new AbortController();
  const flows = new FlowTable();
  const atStart = outbound.routes;
  const connecting = `connecting to ${resolved.pods.length === 1 ? '1 pod' : `${resolved.pods.length} pods`}`;
  const start = async (): Promise<Interception> =>
    await Interception.start(
      {
        cluster,
        hello,
        pods: resolved.pods,
        outbound: atStart,
        flows,
        notices: new Notices((line) => terminal.warn(line)),
        ...(options.proof && {
          beforeClaims: proofBeforeClaims({ cluster, hello, pods: resolved.pods, terminal }),
          afterJoining: proofAfterJoining({ cluster, hello, terminal }),
        }),
        onEmpty: () => {
          const waiting = `${workloadLabel(workload)} has no pods now: waiting for the next`;
          if (format === 'text') terminal.progress(waiting);
          else printEvent(terminal, format, { event: 'waiting' }, '');
        },
        onEvent: (pod, event) => {
          if (format === 'text') terminal.progress(describeLinkEvent(pod, event));
          else printEvent(terminal, format, linkEventFields(pod, event), '');
        },
      },
      abort,
    );
  await using interception = await during(terminal, connecting, start);
  for (const warning of resolved.warnings) terminal.warn(warning);
  outbound.onChange(() => interception.setOutbound(outbound.routes));
  await using _following = followPods({ cluster, workload, ports: resolved, interception, prepared, warn: (line) => terminal.warn(line) });
  const since = new Date().toISOString();
  await using _control = await serveControl({
    status: () => statusOf(cluster, workload, { resolved, outbound, interception, since }),
    leave: () => left.abort(),
    flows: answerFlows({ table: flows, kind: 'intercept' }),
  });
  printRoutes(terminal, format, resolved, atStart);
  interception.setOutbound(outbound.routes); // what changed while the start took its time

  await aborted(AbortSignal.any([interrupted, left.signal, ...(prepared.lost === undefined ? [] : [prepared.lost])]));
  if (interception.activeFlows > 0) {
    const connections = interception.activeFlows === 1 ? '1 active connection has' : `${interception.activeFlows} active connections have`;
    terminal.progress(`stopped claiming; ${connections} ${DRAIN_MILLISECONDS / 1000} s to end`);
  }
  await interception.drain({ signal: AbortSignal.timeout(DRAIN_MILLISECONDS) });
  prepared.lost?.throwIfAborted();
  return interrupted.aborted ? ExitCode.interrupted : ExitCode.done;
}

async function warnOfSilentPorts(resolved: ResolvedPorts, outbound: OutboundTargets, terminal: Terminal): Promise<void> {
  const locals = new Map<string, { readonly local: number; readonly protocol: PortProtocol }>();
  for (const { local, protocol } of resolved.mappings) locals.set(`${local}/${protocol}`, { local, protocol });
  for (const { local } of outbound.mappings) locals.set(`${local}/tcp`, { local, protocol: 'tcp' });
  for (const { local, protocol } of locals.values()) {
    if (await localServerListens(local, protocol)) continue;
    terminal.warn(
      protocol === 'udp'
        ? `nothing listens on 127.0.0.1:${local}/udp yet: datagrams are lost until something does`
        : `nothing listens on 127.0.0.1:${local} yet: callers are reset until something does`,
    );
  }
  for (const { remote } of outbound.empty) terminal.warn(`${remote} has no endpoints now: its calls are claimed as soon as it has one`);
}

/** One line per pod and claim, then `ready`. */
function printRoutes(terminal: Terminal, format: OutputFormat, resolved: ResolvedPorts, outbound: readonly Route[]): void {
  for (const { pod, routes } of resolved.pods) {
    for (const route of [...routes, ...outbound]) {
      const event = { event: 'claimed', pod: pod.name, ...route.target, local: route.local };
      printEvent(terminal, format, event, describeRoute(pod.name, route));
    }
  }
  printEvent(terminal, format, { event: 'ready' }, 'ready');
}

interface Intercepted {
  readonly resolved: ResolvedPorts;
  readonly outbound: OutboundTargets;
  readonly interception: Interception;
  readonly since: string;
}

function statusOf(cluster: Cluster, workload: Workload, { resolved, outbound, interception, since }: Intercepted): StatusReport {
  return {
    pid: process.pid,
    kind: 'intercept',
    version,
    context: cluster.context,
    server: cluster.server,
    namespace: workload.namespace,
    ...(cluster.transport !== undefined && { transport: cluster.transport }),
    workload: workloadLabel(workload),
    since,
    ports: [...resolved.mappings],
    outbound: [...outbound.mappings],
    pods: podReports(interception.links),
  };
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
