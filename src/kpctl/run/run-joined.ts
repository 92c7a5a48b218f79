import { readFileSync } from 'node:fs';
import { formatEndpoint } from '../../forwarder/dial.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { Logger } from '../../platform/log.ts';
import type { OwnedStack } from '../../platform/owned.ts';
import { startDnsServer, podResolvConf } from '../../simulator/dns/index.ts';
import { privateNetworkAddresses } from '../../simulator/network/index.ts';
import { FlowTable } from '../flows/flow-table.ts';
import type { Interruption } from '../interruption.ts';
import { makeExit, movedLine } from '../laptop/make-exit.ts';
import { domainOf, watchClusterNames } from '../laptop/names.ts';
import { outboundDatagrams } from '../laptop/outbound-datagrams.ts';
import { outboundFlows } from '../laptop/outbound.ts';
import { describeLinkEvent } from '../links/describe-event.ts';
import { laptopHello } from '../links/identity.ts';
import { Notices } from '../links/notices.ts';
import type { LinkEvent } from '../links/pod-link.ts';
import { openCluster } from '../options.ts';
import type { Terminal } from '../terminal.ts';
import { commandEnvironment } from './command-environment.ts';
import type { EarlyNetwork } from './early-network.ts';
import { FirstListen } from './first-listen.ts';
import type { Place } from './place.ts';
import type { RunRequest } from './run-in-cluster.ts';
import { runToEnd } from './run-to-end.ts';
import { serveRun } from './serve-run.ts';
import { together } from './together.ts';

export interface RunContext {
  readonly terminal: Terminal;
  readonly interruption: Interruption;
  /** COMMAND's network, on its way. */
  readonly early: EarlyNetwork;
  readonly stack: OwnedStack;
  readonly log: Logger;
  readonly abort: Required<AbortOptions>;
}

/** The rest of {@link runInCluster}: joins the network to the cluster and runs COMMAND. What it makes belongs to `stack`. */
export async function runJoined(request: RunRequest, { terminal, interruption, early, stack, log, abort }: RunContext): Promise<number> {
  const say = (line: string): void => terminal.progress(`kpctl: ${line}`);
  const notices = new Notices((line) => terminal.warn(line));
  const onEvent = (pod: string, event: LinkEvent): void => say(describeLinkEvent(pod, event));

  const cluster = stack.use(await openCluster(request.cluster));
  // Only who asks for a workload loads all that can be done to one.
  const findPlace = async (signal: AbortSignal): Promise<Place | undefined> =>
    request.workload === undefined ? undefined : await (await import('./place.ts')).findPlace(cluster, request, terminal, stack, signal);
  const join = async (starting: Required<AbortOptions>) => {
    const [place, hello] = await together((both) => [findPlace(both.signal), laptopHello(cluster, both)], starting);
    const exit = stack.use(
      makeExit({ cluster, workload: place?.workload, hello, notices, onEvent, onMoved: (from, to) => say(movedLine(from, to)) }),
    );
    await exit.start(starting);
    return { place, hello, exit, domain: domainOf(await exit.session(starting)) };
  };
  const [network, { place, hello, exit, domain }, names] = await together(
    (starting) => [
      early.network,
      join(starting),
      watchClusterNames(cluster, cluster.namespace, log, starting).then((made) => stack.use(made)),
    ],
    abort,
  );

  const flows = new FlowTable();
  const firstListen = new FirstListen(place?.ports.mappings.map(({ local }) => local) ?? []);
  const outbound = { isCluster: (address: string) => names.addresses.contains(address), session: () => exit.session(), notices, flows };
  early.carry({
    onFlow: outboundFlows(outbound),
    onAssociation: outboundDatagrams({
      ...outbound,
      onRefused: (destination, reason) => terminal.warn(`UDP to ${formatEndpoint(destination)} was refused: ${reason}`),
    }),
    onPortsChanged: (ports) => firstListen.changed(ports),
  });
  const namespace = place?.workload.namespace ?? cluster.namespace;
  const { dns } = privateNetworkAddresses;
  await network.setNames(podResolvConf({ nameservers: [dns], namespace, domain, machine: machineResolvConf() }));
  const resolve = names.resolver({ domain, session: (options) => exit.session(options) });
  stack.use(await startDnsServer({ udp: [network.dnsUdp], tcp: [network.dnsTcp], resolve, log }));

  const server = {
    beforeDial: async (port: number, signal: AbortSignal) => await firstListen.wait(port, signal),
    openDatagrams: async () => await network.openDatagrams(),
  };
  const interception =
    place === undefined || place.ports.mappings.length === 0
      ? undefined
      : await (
          await import('./claims.ts')
        ).startClaims({ cluster, hello, place, proof: request.proof, notices, onEvent, terminal, say, flows, server }, stack, abort);

  const leave = new AbortController();
  stack.use(
    await serveRun({
      cluster,
      place,
      argv: request.argv,
      links: () => interception?.links ?? (exit.link === undefined ? [] : [exit.link]),
      flows: { table: flows, namesOf: names.namesOf, network: () => network.insidePid },
      leave: () => leave.abort(),
    }),
  );

  if (place?.files !== undefined) {
    const { mountFiles } = await import('./mount-files.ts');
    stack.use(await mountFiles({ ...place.files, network, argv: request.argv, terminal, log }));
  }

  const environment = commandEnvironment({
    container: place?.environment,
    laptop: process.env,
    overrides: request.environment,
    asServiceAccount: place?.files?.files.hasToken === true,
  });
  abort.signal.throwIfAborted();
  const lost = place?.prepared.lost;
  request.onStart?.();
  const code = await runToEnd(
    () => network.start({ command: request.argv, environment }),
    interruption,
    AbortSignal.any([leave.signal, ...(lost === undefined ? [] : [lost])]),
  );
  lost?.throwIfAborted();
  return code;
}

function machineResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}
