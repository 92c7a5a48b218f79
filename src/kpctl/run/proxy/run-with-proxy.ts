import { formatEndpoint } from '../../../forwarder/dial.ts';
import { ExitCode, Failure } from '../../../platform/errors.ts';
import { createLogger } from '../../../platform/log.ts';
import { OwnedStack } from '../../../platform/owned.ts';
import { FlowTable } from '../../flows/flow-table.ts';
import { dialLocal } from '../../intercept/local-server.ts';
import type { Interruption } from '../../interruption.ts';
import { makeExit, movedLine } from '../../laptop/make-exit.ts';
import { domainOf, watchClusterNames } from '../../laptop/names.ts';
import { outboundDatagrams } from '../../laptop/outbound-datagrams.ts';
import { describeLinkEvent } from '../../links/describe-event.ts';
import { laptopHello } from '../../links/identity.ts';
import { Notices } from '../../links/notices.ts';
import type { LinkEvent } from '../../links/pod-link.ts';
import { openCluster } from '../../options.ts';
import type { Terminal } from '../../terminal.ts';
import { startClaims } from '../claims.ts';
import { commandEnvironment } from '../command-environment.ts';
import { findPlace } from '../place.ts';
import type { RunRequest } from '../run-in-cluster.ts';
import { runToEnd } from '../run-to-end.ts';
import { serveRun } from '../serve-run.ts';
import { together } from '../together.ts';
import { PlainCommand } from './command.ts';
import { Dialler } from './dialler.ts';
import { proxyVariables, withoutProxies } from './environment.ts';
import { FirstAnswer } from './first-answer.ts';
import { nothingOutside, ProxyNames } from './names.ts';
import { ProxyServer } from './proxy-server.ts';

/**
 * Runs a command in this machine's own network, with a proxy in its environment that leads into the cluster, and answers its exit code. It needs
 * no namespaces, and so reaches only as far as programs use the proxy.
 */
export async function runWithProxy(request: RunRequest, terminal: Terminal, interruption: Interruption): Promise<number> {
  if (request.files) {
    throw new Failure('MODE_LACKS_FILES', '--files needs --mode network: without namespaces the files have nowhere to be', {
      remedy: 'leave --files out, or run it on Linux where namespaces are allowed',
      exitCode: ExitCode.kpctlFailed,
    });
  }
  const interrupted = interruption.listen();
  const abort = { signal: interrupted };
  const say = (line: string): void => terminal.progress(`kpctl: ${line}`);
  const notices = new Notices((line) => terminal.warn(line));
  const log = createLogger('kpctl', process.env['KPEERING_LOG'] ?? 'warn');
  const onEvent = (pod: string, event: LinkEvent): void => say(describeLinkEvent(pod, event));
  await using stack = new OwnedStack();

  const cluster = stack.use(await openCluster(request.cluster));
  const [place, names, hello] = await together(
    (starting) => [
      findPlace(cluster, request, terminal, stack, starting.signal),
      watchClusterNames(cluster, cluster.namespace, log, starting).then((made) => stack.use(made)),
      laptopHello(cluster, starting),
    ],
    abort,
  );
  const exit = stack.use(
    makeExit({ cluster, workload: place?.workload, hello, notices, onEvent, onMoved: (from, to) => say(movedLine(from, to)) }),
  );
  await exit.start(abort);

  const flows = new FlowTable();
  const isCluster = (address: string): boolean => names.addresses.contains(address);
  const domain = domainOf(await exit.session(abort));
  const namespace = place?.workload.namespace ?? cluster.namespace;
  const dialler = new Dialler({
    names: new ProxyNames({
      resolve: names.resolver({ domain, session: (options) => exit.session(options), upstream: nothingOutside }),
      search: [`${namespace}.svc.${domain}`, `svc.${domain}`, domain],
    }),
    isCluster,
    session: () => exit.session(),
    notices,
    environment: process.env,
    flows,
  });
  const proxy = stack.use(
    await ProxyServer.listen({
      dialler,
      onAssociation: outboundDatagrams({
        isCluster,
        session: () => exit.session(),
        notices,
        flows,
        onRefused: (destination, reason) => terminal.warn(`UDP to ${formatEndpoint(destination)} was refused: ${reason}`),
      }),
    }),
  );

  const server = new FirstAnswer(dialLocal);
  const claims = { cluster, hello, place, proof: request.proof, notices, onEvent, terminal, say, flows };
  const interception = await startClaims({ ...claims, server: { dial: (port, options) => server.dial(port, options) } }, stack, abort);
  const leave = new AbortController();
  stack.use(
    await serveRun({
      cluster,
      place,
      argv: request.argv,
      links: () => interception?.links ?? (exit.link === undefined ? [] : [exit.link]),
      flows: { table: flows, namesOf: names.namesOf },
      leave: () => leave.abort(),
    }),
  );

  interrupted.throwIfAborted();
  const lost = place?.prepared.lost;
  const environment = commandEnvironment({
    container: new Map([...withoutProxies(place?.environment ?? []), ...Object.entries(proxyVariables(proxy.access, proxy.port))]),
    laptop: Object.fromEntries(withoutProxies(Object.entries(process.env))),
    overrides: request.environment,
    asServiceAccount: false,
  });
  const line = { command: request.argv, environment, directory: process.cwd() };
  const start = async (): Promise<PlainCommand> => stack.use(await PlainCommand.start(line));
  request.onStart?.();
  const code = await runToEnd(start, interruption, AbortSignal.any([leave.signal, ...(lost === undefined ? [] : [lost])]));
  lost?.throwIfAborted();
  return code;
}
