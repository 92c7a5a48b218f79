import { isIP, isIPv6 } from 'node:net';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Cluster, Transport } from '../cluster/types.ts';
import type { PortProtocol } from '../cluster/workloads.ts';
import type { OutputFormat } from './terminal.ts';

/** The options of every command that speaks to a cluster, as kubectl names them. */
export interface ClusterOptions {
  readonly namespace?: string;
  readonly context?: string;
  readonly kubeconfig?: string;
  readonly as?: string;
  readonly asGroup?: string[];
  readonly transport?: Transport;
}

/** Adds `-n`, `--context`, `--kubeconfig`, `--as`, `--as-group`, `--transport`. */
export function withClusterOptions(command: Command, namespaceHelp = "the namespace (default: the context's)"): Command {
  return withContextOptions(command.option('-n, --namespace <namespace>', namespaceHelp));
}

/** The same without `-n`, for a command with an idea of its own of namespaces. */
export function withContextOptions(command: Command): Command {
  return command
    .option('--context <context>', 'the context of the kubeconfig to use')
    .option('--kubeconfig <file>', 'the kubeconfig to use (default: $KUBECONFIG, else ~/.kube/config)')
    .option('--as <user>', 'impersonate this user')
    .addOption(new Option('--as-group <group...>', 'impersonate these groups'))
    .addOption(
      new Option(
        '--transport <protocol>',
        'what tunnels use on the way to the API server (default: spdy, or websocket where that is refused)',
      ).choices(['spdy', 'websocket']),
    );
}

/** Adds `-o json|yaml`. */
export function withOutputOption(command: Command): Command {
  return command.addOption(new Option('-o, --output <format>', 'print the result as json or yaml').choices(['json', 'yaml']));
}

/** What `-o` was given, `text` where it was not. */
export function outputFormat(options: { readonly output?: string }): OutputFormat {
  return options.output === 'json' || options.output === 'yaml' ? options.output : 'text';
}

/** The cluster that the options and the kubeconfig name. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  // What has options but speaks to no cluster starts in half the time without it.
  const { connectCluster } = await import('../cluster/connect.ts');
  return await connectCluster({
    ...(options.namespace !== undefined && { namespace: options.namespace }),
    ...(options.context !== undefined && { context: options.context }),
    ...(options.kubeconfig !== undefined && { kubeconfig: options.kubeconfig }),
    ...(options.as !== undefined && { as: options.as }),
    ...(options.asGroup !== undefined && { asGroups: options.asGroup }),
    ...(options.transport !== undefined && { transport: options.transport }),
  });
}

/** How pods without a sidecar get one before they are attached to. */
export interface SidecarOptions {
  readonly inject?: boolean;
  readonly ephemeral?: boolean;
  /** True: `--replace` without a name. */
  readonly replace?: string | true;
  readonly image?: string;
  readonly yes?: boolean;
}

/** Adds `--inject`, `--ephemeral`, `--replace`, `--image`, `--yes`. */
export function withSidecarOptions(command: Command): Command {
  return command
    .option('--inject', 'first inject the workload where it has no sidecar: restarts its pods (asks before; kpctl eject undoes it)')
    .option('--ephemeral', 'add kpeering to running pods without a sidecar as an ephemeral container: without a restart')
    .option('--image <image>', "with --ephemeral: the container's image (default: the operator's)")
    .option('--replace [container]', 'let a container of ours hold the place of this one meanwhile: restarts the pods, twice (asks before)')
    .option('-y, --yes', 'do not ask before pods are restarted');
}

/** `--port [LOCAL:]REMOTE[/tcp|/udp]`, the order of `kubectl port-forward`. REMOTE is a port's number or name. */
export interface PortMapping {
  /** Undefined: the same as the remote port's number, once that is known. */
  readonly local: number | undefined;
  readonly remote: string;
  /** Undefined: TCP for a number, and for a name the protocol that it is declared with. */
  readonly protocol?: PortProtocol | undefined;
}

/** Reads one `[LOCAL:]REMOTE[/tcp|/udp]`; collects when the option is repeated. Commander turns the error into exit code 2. */
export function parsePortMapping(text: string, previous: readonly PortMapping[] = []): PortMapping[] {
  const [ports = '', suffix, ...more] = text.split('/');
  if (more.length > 0 || (suffix !== undefined && suffix !== 'tcp' && suffix !== 'udp')) {
    throw new InvalidArgumentError(`the protocol is /tcp or /udp, and "${text}" has another`);
  }
  const [first = '', second, ...rest] = ports.split(':');
  if (rest.length > 0) throw new InvalidArgumentError(`expected [LOCAL:]REMOTE, as in 3000:80 or 3000:http`);
  const remote = second ?? first;
  const local = second === undefined || first === '' ? undefined : portNumber(first, 'LOCAL');
  if (/^\d+$/.test(remote)) portNumber(remote, 'REMOTE');
  else if (!isPortName(remote)) throw new InvalidArgumentError(`REMOTE is a port's number or its name, and "${remote}" is neither`);
  return [...previous, { local, remote, protocol: suffix }];
}

/** `--outbound [LOCAL:]HOST:PORT`: calls that the workload makes. HOST is a Service (`name`, `name.namespace`) or an IP address. */
export interface OutboundMapping {
  /** Undefined: the same as PORT's number, once that is known. */
  readonly local: number | undefined;
  readonly host: string;
  /** A number, or the name of a Service's port. */
  readonly port: string;
}

/** Reads one `[LOCAL:]HOST:PORT` (an IPv6 address in brackets); collects when the option is repeated. */
export function parseOutboundMapping(text: string, previous: readonly OutboundMapping[] = []): OutboundMapping[] {
  const matched = /^(?:([^:[\]]*):)?(\[[^\]]*\]|[^:[\]]+):([^:[\]]+)$/.exec(text);
  if (matched === null) {
    throw new InvalidArgumentError('expected [LOCAL:]HOST:PORT, as in 5432:db:5432, db.shop:5432, 10.0.0.7:80 or [fd00::7]:80');
  }
  const [, first = '', bracketed = '', port = ''] = matched;
  const host = bracketed.startsWith('[') ? bracketed.slice(1, -1) : bracketed;
  if (bracketed.startsWith('[') ? !isIPv6(host) : isIP(host) === 0 && !isServiceName(host)) {
    throw new InvalidArgumentError(`HOST is a Service (name, name.namespace) or an IP address, and "${host}" is neither`);
  }
  if (/^\d+$/.test(port)) portNumber(port, 'PORT');
  else if (!isPortName(port)) throw new InvalidArgumentError(`PORT is a port's number or its name, and "${port}" is neither`);
  return [...previous, { local: first === '' ? undefined : portNumber(first, 'LOCAL'), host, port }];
}

/** A container port's name is an IANA_SVC_NAME of at most 15 characters (Kubernetes API, ContainerPort.name); a Service's a DNS label. */
function isPortName(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(text);
}

/** `db`, `db.shop`, and the longer ways to write the second. Digits and dots alone were meant as an address. */
function isServiceName(text: string): boolean {
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  return new RegExp(`^${label}(\\.${label}(\\.svc(\\.[a-z0-9.-]+)?)?)?$`).test(text) && !/^[\d.]+$/.test(text);
}

function portNumber(text: string, which: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError(`${which} is a port from 1 to 65535, and "${text}" is not`);
}
