import type { Cluster } from '../../cluster/types.ts';
import { findWorkload, parseWorkload, workloadLabel, type Workload } from '../../cluster/workloads.ts';
import { formatEndpoint } from '../../forwarder/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { addressBits, formatCidr, parseCidr } from '../../platform/cidr.ts';
import type { Failure } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { OwnedStack, type Closeable } from '../../platform/owned.ts';
import { watchRoutes } from '../../platform/routes.ts';
import { version } from '../../platform/version.ts';
import { createUpstream, startDnsServer } from '../../simulator/dns/index.ts';
import type { MachineNetwork, MachineNetworkOptions, NamesPlan } from '../../simulator/machine/index.ts';
import { UP_SOCKET } from '../control/client.ts';
import type { UpStatus } from '../control/messages.ts';
import { serveControl } from '../control/server.ts';
import type { Exit } from '../exit/exit.ts';
import { FlowTable } from '../flows/flow-table.ts';
import { answerFlows } from '../flows/serve-flows.ts';
import { makeExit } from '../laptop/make-exit.ts';
import { domainOf, watchClusterNames, type ClusterNames } from '../laptop/names.ts';
import { outboundDatagrams } from '../laptop/outbound-datagrams.ts';
import { outboundFlows } from '../laptop/outbound.ts';
import { describeLinkEvent } from '../links/describe-event.ts';
import { laptopHello } from '../links/identity.ts';
import { Notices } from '../links/notices.ts';
import { podReports } from '../links/pod-report.ts';
import { ApiAddresses } from './api-addresses.ts';
import type { CapturePlan } from './capture-plan.ts';
import { CaptureUpkeep } from './capture-upkeep.ts';
import { Freshness } from './freshness.ts';
import type { Joined } from './joined.ts';
import { isOwnRoute } from './own-route.ts';
import { watchNamespaceNames, type NamespaceNames } from './namespace-names.ts';
import type { UpRequest } from './request.ts';

export interface JoinOptions {
  readonly cluster: Cluster;
  readonly request: Pick<UpRequest, 'workload' | 'also' | 'never'>;
  /** Changes the machine: called once the cluster has been reached. */
  readonly joinMachine: (options: MachineNetworkOptions, abort: AbortOptions) => Promise<MachineNetwork>;
  /** For the user, as long as one looks on; all of it is also in the log. */
  readonly tell: { progress(text: string): void; warn(text: string): void };
  /** Somebody has asked by the control socket to leave. */
  readonly onLeave: () => void;
  readonly log: Logger;
  /** The log's file. */
  readonly logFile: string;
}

/** This machine, joined to a cluster until it is closed. */
export interface ClusterJoin extends Closeable {
  readonly joined: Joined;
  /** The machine's side has ended without being asked to. */
  readonly lost: Promise<Failure>;
}

/** How long the tunnel may take for a sign of life after the network has changed. */
const SIGN_OF_LIFE_MILLISECONDS = 1_500;

/**
 * Joins this machine to a cluster: reaches the cluster, and only then changes the machine. Rejects with a Failure; nothing is changed then, or it is undone.
 */
export async function joinCluster(options: JoinOptions, abort: AbortOptions): Promise<ClusterJoin> {
  const stack = new OwnedStack();
  try {
    const reached = await reachCluster(options, stack, abort);
    return await joinTo(reached, options, stack, abort);
  } catch (error) {
    await stack.close();
    throw error;
  }
}

/** What has been learnt of the cluster before the machine is changed. */
interface Reached {
  readonly workload: Workload | undefined;
  readonly exit: Exit;
  readonly names: ClusterNames;
  readonly namespaces: NamespaceNames;
  readonly apiServer: ApiAddresses;
  readonly notices: Notices;
}

/** Side by side: the way out, what names and networks come from, and where the API server is. */
async function reachCluster({ cluster, request, tell, log }: JoinOptions, stack: OwnedStack, abort: AbortOptions): Promise<Reached> {
  const notices = new Notices((line) => tell.warn(line));
  const apiServer = new ApiAddresses(cluster);
  const opened = Promise.all([
    laptopHello(cluster, abort),
    request.workload === undefined ? undefined : findWorkload(cluster, parseWorkload(request.workload), abort),
  ]).then(async ([hello, workload]) => {
    const onEvent = (pod: string, event: Parameters<typeof describeLinkEvent>[1]): void => tell.progress(describeLinkEvent(pod, event));
    const onMoved = (from: string, to: string): void => tell.progress(`new flows leave from ${to}, and no more from ${from}`);
    const exit = stack.use(makeExit({ cluster, workload, hello, notices, onEvent, onMoved }));
    await exit.start(abort);
    return { exit, workload };
  });
  const [{ exit, workload }, names, namespaces] = await Promise.all([
    opened,
    watchClusterNames(cluster, cluster.namespace, log, abort).then((made) => stack.use(made)),
    watchNamespaceNames(cluster, cluster.namespace).then((made) => stack.use(made)),
    apiServer.refresh(),
  ]);
  return { exit, workload, names, namespaces, apiServer, notices };
}

async function joinTo(reached: Reached, options: JoinOptions, stack: OwnedStack, abort: AbortOptions): Promise<ClusterJoin> {
  const { cluster, request, tell, log } = options;
  const { exit, names, namespaces, apiServer, notices } = reached;
  const domain = domainOf(await exit.session(abort));
  const flows = new FlowTable();
  const routes = stack.use(watchRoutes({ log }));
  let machine: MachineNetwork | undefined;
  const capture = stack.use(
    new CaptureUpkeep({
      sources: {
        networks: names.addresses,
        routes: () => routes.routes.filter((route) => !isOwnRoute(route)),
        also: request.also,
        never: request.never,
        apiServer: () => apiServer.now,
        nameServers: () => machine?.names.servers.map(({ address }) => address) ?? [],
        isInUse: (address) => flows.list().some(({ program }) => program.remote?.address === address),
      },
      apply: async (plan) => {
        await machine?.setNetworks(plan);
        await setNames(namesPlan(plan));
      },
      onWarning: (warning) => tell.warn(warning),
      log,
    }),
  );
  const namesPlan = (plan: CapturePlan): NamesPlan => ({
    domain,
    search: [`${cluster.namespace}.svc.${domain}`, `svc.${domain}`, domain],
    namespaces: namespaces.now,
    networks: plan.capture.filter((network) => isRange(network)),
  });
  let named = '';
  /** Only what has changed: pods come and go, and each change may restart the machine's own resolver. */
  const setNames = async (plan: NamesPlan): Promise<void> => {
    const text = JSON.stringify(plan);
    if (machine === undefined || text === named) return;
    // Before it is done: a change back that comes meanwhile is one, too.
    const previous = named;
    named = text;
    try {
      await machine.setNames(plan);
    } catch (error) {
      if (named === text) named = previous;
      throw error;
    }
  };
  const carried = {
    isCluster: (address: string) => capture.has(address),
    toCluster: (address: string) => capture.toCluster(address),
    session: () => exit.session(),
    notices,
    flows,
  };

  tell.progress('changing the network and the names of this machine');
  const firstNames = namesPlan(capture.plan);
  named = JSON.stringify(firstNames);
  const network = (machine = stack.use(
    await options.joinMachine(
      {
        ...capture.networks,
        names: firstNames,
        onFlow: outboundFlows(carried),
        onAssociation: outboundDatagrams({
          ...carried,
          onRefused: (destination, reason) => tell.warn(`UDP to ${formatEndpoint(destination)} was refused: ${reason}`),
        }),
        onNamesChanged: () => void capture.changed(),
        log,
      },
      abort,
    ),
  ));
  for (const warning of network.warnings) tell.warn(warning);
  const resolve = names.resolver({
    domain,
    session: async (sessionOptions) => await exit.session(sessionOptions),
    upstream: createUpstream({ servers: () => network.names.servers }),
    addresses: { toLocal: (address) => capture.toLocal(address), toCluster: (address) => capture.behind(address) },
    onLearnt: () => capture.changed(),
  });
  stack.use(await startDnsServer({ udp: network.dnsUdp, tcp: network.dnsTcp, resolve, log }));
  await capture.changed(); // the machine's own name servers are known only now
  routes.onChange(() => void capture.changed());
  namespaces.onChange(() => {
    setNames(namesPlan(capture.plan)).catch((error: unknown) => log.warn({ err: error }, 'the names could not be changed'));
  });
  stack.use(new Freshness({ routes, apiServer: () => apiServer.now, onChange: (why) => void refresh(why) }));

  /** What is kept open may be dead, and would say so only after minutes. */
  async function refresh(why: 'slept' | 'route'): Promise<void> {
    tell.progress(
      why === 'slept' ? 'this machine has slept: looking after the tunnel' : 'the way to the cluster has changed: looking after the tunnel',
    );
    const alive = await Promise.all(exit.links.map(async (link) => await link.check(SIGN_OF_LIFE_MILLISECONDS)));
    if (!alive.every(Boolean)) cluster.refresh();
    if (await apiServer.refresh()) await capture.changed();
  }

  const since = new Date().toISOString();
  const joined = (): Joined => describe(reached, options, { capture, domain, network });
  const status = (): UpStatus => ({
    ...joined(),
    pid: process.pid,
    kind: 'up',
    version,
    ...(cluster.transport !== undefined && { transport: cluster.transport }),
    since,
    tunnel: podReports(exit.link === undefined ? [] : [exit.link])[0]?.tunnel ?? 'gone',
    activeFlows: flows.size,
  });
  const tellFlows = answerFlows({ table: flows, kind: 'up', namesOf: names.namesOf });
  stack.use(await serveControl({ status, leave: options.onLeave, flows: tellFlows }, UP_SOCKET));
  const close = async (): Promise<void> => await stack.close();
  return { joined: joined(), lost: network.lost, close, [Symbol.asyncDispose]: close };
}

interface JoinedParts {
  readonly capture: CaptureUpkeep;
  readonly domain: string;
  readonly network: MachineNetwork;
}

function describe({ exit, names, workload }: Reached, { cluster, request, logFile }: JoinOptions, parts: JoinedParts): Joined {
  const { capture, domain, network } = parts;
  const { plan } = capture;
  const pod = exit.link?.pod;
  return {
    context: cluster.context,
    server: cluster.server,
    namespace: cluster.namespace,
    exit: {
      kind: workload === undefined ? 'gateway' : 'workload',
      ...(workload !== undefined && { workload: workloadLabel(workload) }),
      ...(pod !== undefined && { pod: `${pod.namespace}/${pod.name}` }),
    },
    networks: {
      captured: [...plan.capture],
      never: [...plan.never],
      sources: [...names.addresses.told],
      also: [...request.also],
      excluded: [...request.never],
    },
    ...(plan.overlaps.length > 0 && {
      synthetic: {
        ranges: [formatCidr(plan.ranges.ipv4), formatCidr(plan.ranges.ipv6)],
        overlaps: plan.overlaps.map(({ network: of, of: what, switched, route }) => ({ network: of, of: what, switched, route })),
      },
    }),
    names: {
      domain,
      search: [`${cluster.namespace}.svc.${domain}`, `svc.${domain}`, domain],
      kind: network.names.kind,
      elsewhere: network.names.servers.map((server) => formatEndpoint(server)),
    },
    log: logFile,
  };
}

/** More than one address. */
function isRange(network: string): boolean {
  const cidr = parseCidr(network);
  return cidr !== undefined && cidr.bits < addressBits(cidr.family);
}
