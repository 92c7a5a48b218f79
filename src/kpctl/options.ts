import { InvalidArgumentError, Option, type Command } from 'commander';
import { connectCluster } from '../cluster/connect.ts';
import type { Cluster } from '../cluster/types.ts';
import type { OutputFormat } from './terminal.ts';

/** The options of every command that speaks to a cluster, as kubectl names them. */
export interface ClusterOptions {
  readonly namespace?: string;
  readonly context?: string;
  readonly kubeconfig?: string;
  readonly as?: string;
  readonly asGroup?: string[];
}

/** Adds `-n`, `--context`, `--kubeconfig`, `--as`, `--as-group`. */
export function withClusterOptions(command: Command): Command {
  return command
    .option('-n, --namespace <namespace>', "the namespace (default: the context's)")
    .option('--context <context>', 'the context of the kubeconfig to use')
    .option('--kubeconfig <file>', 'the kubeconfig to use (default: $KUBECONFIG, else ~/.kube/config)')
    .option('--as <user>', 'impersonate this user')
    .addOption(new Option('--as-group <group...>', 'impersonate these groups'));
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
  return await connectCluster({
    ...(options.namespace !== undefined && { namespace: options.namespace }),
    ...(options.context !== undefined && { context: options.context }),
    ...(options.kubeconfig !== undefined && { kubeconfig: options.kubeconfig }),
    ...(options.as !== undefined && { as: options.as }),
    ...(options.asGroup !== undefined && { asGroups: options.asGroup }),
  });
}

/** `--port [LOCAL:]REMOTE`, the order of `kubectl port-forward`. REMOTE is a port's number or name. */
export interface PortMapping {
  /** Undefined: the same as the remote port's number, once that is known. */
  readonly local: number | undefined;
  readonly remote: string;
}

/** Reads one `[LOCAL:]REMOTE`; collects when the option is repeated. Commander turns the error into exit code 2. */
export function parsePortMapping(text: string, previous: readonly PortMapping[] = []): PortMapping[] {
  const [first = '', second, ...rest] = text.split(':');
  if (rest.length > 0) throw new InvalidArgumentError(`expected [LOCAL:]REMOTE, as in 3000:80 or 3000:http`);
  const remote = second ?? first;
  const local = second === undefined || first === '' ? undefined : portNumber(first, 'LOCAL');
  if (/^\d+$/.test(remote)) portNumber(remote, 'REMOTE');
  // A container port's name: IANA_SVC_NAME, at most 15 characters (Kubernetes API, ContainerPort.name); a Service's: a DNS label.
  else if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(remote)) {
    throw new InvalidArgumentError(`REMOTE is a port's number or its name, and "${remote}" is neither`);
  }
  return [...previous, { local, remote }];
}

function portNumber(text: string, which: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError(`${which} is a port from 1 to 65535, and "${text}" is not`);
}
