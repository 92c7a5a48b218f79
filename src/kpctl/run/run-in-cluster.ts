import { readFileSync } from 'node:fs';
import type { Cluster } from '../../cluster/types.ts';
import type { Pod } from '../../cluster/resources.ts';
import { dialsForLaptops, findWorkload, parseWorkload, workloadLabel, type Workload } from '../../cluster/workloads.ts';
import { formatEndpoint } from '../../forwarder/dial.ts';
import { createLogger } from '../../platform/log.ts';
import { OwnedStack } from '../../platform/owned.ts';
import { version } from '../../platform/version.ts';
import { startDnsServer, podResolvConf } from '../../simulator/dns/index.ts';
import { mergeForLaptop } from '../../simulator/environment/index.ts';
import {
  exitCodeOf,
  privateNetworkAddresses,
  startPrivateNetwork,
  type PrivateNetwork,
  type RunningCommand,
} from '../../simulator/network/index.ts';
import { newSessionId, type LocalHello } from '../../tunnel/index.ts';
import { serveControl } from '../control/server.ts';
import { followPods } from '../intercept/follow.ts';
import { Interception } from '../intercept/interception.ts';
import type { Preparation } from '../intercept/preparation.ts';
import { prepare } from '../intercept/prepare.ts';
import { describeRoute, resolveRoutes, type ResolvedPorts } from '../intercept/routes.ts';
import type { Interruption } from '../interruption.ts';
import { describeLinkEvent } from '../links/describe-event.ts';
import { laptopHello } from '../links/identity.ts';
import { Notices } from '../links/notices.ts';
import { PodLink, type LinkEvent } from '../links/pod-link.ts';
import { podReports } from '../links/pod-report.ts';
import { openCluster, type ClusterOptions, type PortMapping, type SidecarOptions } from '../options.ts';
import { standardQuestions } from '../questions.ts';
import type { Terminal } from '../terminal.ts';
import { attachablePods } from '../workloads/attachable.ts';
import { containerEnvironment } from '../workloads/environment.ts';
import { proofAfterJoining, proofBeforeClaims } from '../proof/before-claims.ts';
import { Exit } from './exit.ts';
import { FirstListen } from './first-listen.ts';
import { findGateway } from './gateway.ts';
import { watchClusterNames } from './names.ts';
import { outboundDatagrams } from './outbound-datagrams.ts';
import { outboundFlows } from './outbound.ts';

export interface RunRequest {
  readonly argv: readonly string[];
  readonly cluster: ClusterOptions;
  readonly workload: string | undefined;
  readonly ports: readonly PortMapping[];
  readonly container: string | undefined;
  /** Whether the pods' capture is proved before their ports are claimed. */
  readonly proof: boolean;
  /** How pods of the workload get a sidecar that have none. */
  readonly sidecar: SidecarOptions;
}

/** The workload that a run stands for, with what `--port` came to. */
interface Place {
  readonly workload: Workload;
  readonly pods: readonly Pod[];
  readonly ports: ResolvedPorts;
  readonly environment: ReadonlyMap<string, string>;
  readonly prepared: Preparation;
}

/**
 * Runs a command in a private network whose cluster traffic goes through the tunnel, and answers its exit code. Resources
 * are closed in the opposite order of their making, also when a later one cannot be made.
 */
export async function runInCluster(request: RunRequest, terminal: Terminal, interruption: Interruption): Promise<number> {
  const interrupted = interruption.listen();
  const abort = { signal: interrupted };
  const say = (line: string): void => terminal.progress(`kpctl: ${line}`);
  const notices = new Notices((line) => terminal.warn(line));
  const log = createLogger('kpctl', process.env['KPEERING_LOG'] ?? 'warn');
  const onEvent = (pod: string, event: LinkEvent): void => say(describeLinkEvent(pod, event));
  await using stack = new OwnedStack();

  const cluster = stack.use(await openCluster(request.cluster));
  const helloAnswer = laptopHello(cluster, abort);
  const [place, names, hello] = await Promise.all([
    findPlace(cluster, request, terminal, stack, interrupted),
    watchClusterNames(cluster, cluster.namespace, log, abort).then((made) => stack.use(made)),
    helloAnswer,
  ]);

  const exit = stack.use(makeExit(cluster, place?.workload, hello, { notices, onEvent }));
  const firstListen = new FirstListen(place?.ports.mappings.map(({ local }) => local) ?? []);
  const [network] = await Promise.all([
    startPrivateNetwork(
      {
        command: request.argv,
        environment: mergeForLaptop(place?.environment ?? new Map<string, string>(), process.env),
        resolvConf: podResolvConf({
          nameservers: [privateNetworkAddresses.dns],
          namespace: place?.workload.namespace ?? cluster.namespace,
          machine: machineResolvConf(),
        }),
        onFlow: outboundFlows({
          isCluster: (address) => names.addresses.contains(address),
          session: () => exit.session(),
          notices,
        }),
        onAssociation: outboundDatagrams({
          isCluster: (address) => names.addresses.contains(address),
          session: () => exit.session(),
          notices,
          onRefused: (destination, reason) => terminal.warn(`UDP to ${formatEndpoint(destination)} was refused: ${reason}`),
        }),
        onDatagramRefused: (destination) => {
          const { dns } = privateNetworkAddresses;
          terminal.warn(`UDP to ${formatEndpoint(destination)} was refused: names are answered at ${dns}, not over IPv6`);
        },
        onPortUnavailable: ({ port, code }) => {
          terminal.warn(`port ${port} of the command is not reachable on this machine's 127.0.0.1: ${portProblem(code)}`);
        },
        onPortsChanged: (ports) => firstListen.changed(ports),
        log,
      },
      abort,
    ).then((made) => stack.use(made)),
    exit.start(abort),
  ]);
  stack.use(await startDnsServer({ udp: [network.dnsUdp], tcp: [network.dnsTcp], resolve: names.resolve, log }));

  const interception =
    place === undefined || place.ports.mappings.length === 0
      ? undefined
      : stack.use(
          await Interception.start(
            {
              cluster,
              hello,
              pods: place.ports.pods,
              notices,
              onEvent,
              ...(request.proof && {
                beforeClaims: proofBeforeClaims({ cluster, hello, pods: place.ports.pods, terminal: { ...terminal, progress: say } }),
                afterJoining: proofAfterJoining({ cluster, hello, terminal: { ...terminal, progress: say } }),
              }),
              beforeDial: (port, signal) => firstListen.wait(port, signal),
              openDatagrams: () => network.openDatagrams(),
            },
            abort,
          ),
        );
  if (interception !== undefined && place !== undefined) {
    const { workload, ports, prepared } = place;
    stack.use(followPods({ cluster, workload, ports, interception, prepared, warn: (line) => terminal.warn(line) }));
    for (const { pod, routes } of place.ports.pods) for (const route of routes) say(describeRoute(pod.name, route));
    say('ready');
  }

  const since = new Date().toISOString();
  const leave = new AbortController();
  stack.use(
    await serveControl({
      status: () => ({
        pid: process.pid,
        kind: 'run',
        version,
        context: cluster.context,
        server: cluster.server,
        namespace: place?.workload.namespace ?? cluster.namespace,
        ...(cluster.transport !== undefined && { transport: cluster.transport }),
        ...(place !== undefined && { workload: workloadLabel(place.workload) }),
        command: [...request.argv],
        since,
        ports: [...(place?.ports.mappings ?? [])],
        outbound: [],
        pods: podReports(interception?.links ?? (exit.link === undefined ? [] : [exit.link])),
      }),
      leave: () => leave.abort(),
    }),
  );

  interrupted.throwIfAborted();
  const lost = place?.prepared.lost;
  const code = await runToEnd(network, interruption, AbortSignal.any([leave.signal, ...(lost === undefined ? [] : [lost])]));
  lost?.throwIfAborted();
  return code;
}

/** Starts the command and answers its exit code. A signal that comes while it starts is passed on once it has. */
async function runToEnd(network: PrivateNetwork, interruption: Interruption, leave: AbortSignal): Promise<number> {
  let running: RunningCommand | undefined;
  const early: NodeJS.Signals[] = [];
  const giveBack = interruption.handOver((signal) => {
    if (running === undefined) early.push(signal);
    else void running.signal(signal);
  });
  try {
    running = await network.start();
    const command = running;
    for (const signal of early) void command.signal(signal);
    leave.addEventListener('abort', () => void command.signal('SIGTERM'), { once: true });
    return exitCodeOf(await command.exited);
  } finally {
    giveBack();
  }
}

async function findPlace(
  cluster: Cluster,
  request: RunRequest,
  terminal: Terminal,
  stack: OwnedStack,
  signal: AbortSignal,
): Promise<Place | undefined> {
  if (request.workload === undefined) return undefined;
  const workload = await findWorkload(cluster, parseWorkload(request.workload), { signal });
  const yes = request.sidecar.yes === true;
  const context = { cluster, workload, terminal, questions: standardQuestions, yes, ports: request.ports, image: request.sidecar.image };
  const prepared = stack.use(await prepare({ ...context, signal }, request.sidecar));
  const pods = await attachablePods(cluster, workload, { signal });
  const ports = resolveRoutes(workload, pods, request.ports);
  for (const warning of ports.warnings) terminal.warn(warning);
  const [pod] = pods;
  if (pod === undefined) return undefined; // attachablePods answers at least one
  const environment = await containerEnvironment(cluster, pod, request.container, { signal });
  for (const warning of environment.warnings) terminal.warn(warning);
  return { workload, pods, ports, environment: environment.variables, prepared };
}

/** The exit has a session of its own: the claims' session ends, and says goodbye, by itself. */
function makeExit(
  cluster: Cluster,
  workload: Workload | undefined,
  hello: LocalHello,
  { notices, onEvent }: { readonly notices: Notices; readonly onEvent: (pod: string, event: LinkEvent) => void },
): Exit {
  return new Exit({
    choose: async (options) => {
      if (workload === undefined) return await findGateway(cluster, options);
      const pods = await attachablePods(cluster, workload, options);
      const pod = pods.find((one) => dialsForLaptops(one));
      if (pod !== undefined) return { namespace: workload.namespace, name: pod.metadata.name };
      notices.once(
        'outbound-disabled',
        `${workloadLabel(workload)} dials nothing for laptops (kpeering.io/outbound): calls leave from the gateway`,
      );
      return await findGateway(cluster, options);
    },
    link: (pod, onLinkEvent) =>
      new PodLink({
        cluster,
        pod,
        hello: { ...hello, id: newSessionId() },
        onIncoming: (stream) => stream.refuse('denied', 'this session claims nothing'),
        onEvent: onLinkEvent,
      }),
    onEvent,
  });
}

function machineResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}

function portProblem(code: string): string {
  if (code === 'EADDRINUSE') return 'another program listens there (EADDRINUSE)';
  if (code === 'EACCES') return 'an ordinary user may not listen below 1024 (EACCES)';
  return code;
}
