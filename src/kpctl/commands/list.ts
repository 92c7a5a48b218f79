import type { Command } from 'commander';
import { claimsAnswerSchema, rulesAnswerSchema, type ClaimsAnswer, type RulesAnswer } from '../../claims/messages.ts';
import type { Cluster } from '../../cluster/types.ts';
import { listWorkloads, protocolOf, sidecarOf, type PortProtocol, type WorkloadSummary } from '../../cluster/workloads.ts';
import { deadline } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import { laptopHello } from '../links/identity.ts';
import { PodLink } from '../links/pod-link.ts';
import { shortTarget } from '../links/targets.ts';
import { openCluster, outputFormat, withClusterOptions, withOutputOption, type ClusterOptions } from '../options.ts';
import { printResult, table, type Terminal } from '../terminal.ts';
import { RequestError, type LocalHello } from '../../tunnel/index.ts';

interface ListCommandOptions extends ClusterOptions {
  readonly allNamespaces?: boolean;
  readonly output?: string;
}

/** What one sidecar said, or why it could not be asked. */
type PodClaims = { readonly pod: string } & (
  | {
      readonly claims: ClaimsAnswer['claims'];
      /** How the pod captures; absent where its sidecar is of a release that does not say it, and of a gateway. */
      readonly rules?: RulesAnswer;
    }
  | { readonly unknown: string }
);

/** Claims live in the sidecars: they are asked in parallel, and one that is slow holds nobody up for longer than this. */
const ASK_MILLISECONDS = 3_000;
/** Sidecars that are asked at a time: each costs a connection to the API server. */
const ASKED_AT_ONCE = 16;

/** `kpctl list`: workloads, ready pods, ports, sidecar or not, claimed by whom. */
export function listCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('list')
    .description('list the workloads: pods, ports, which have a sidecar, and who claims what')
    .option('-A, --all-namespaces', 'of all namespaces');
  withOutputOption(withClusterOptions(command)).action(async (options: ListCommandOptions) => {
    await using cluster = await openCluster(options);
    const all = options.allNamespaces === true;
    const workloads = await listWorkloads(cluster, all ? {} : { namespace: cluster.namespace });
    const claims = await claimsOf(cluster, workloads);
    const rows = workloads.map((workload) => describe(workload, claims));
    printResult(terminal, outputFormat(options), rows, () => textOf(rows, all, cluster.namespace));
  });
}

interface Row {
  readonly namespace: string;
  readonly workload: string;
  readonly ready: number;
  readonly desired: number;
  readonly ports: readonly { readonly name?: string; readonly port: number; readonly protocol: PortProtocol }[];
  /** `gateway`: kpeering itself, the exit for runs without a workload. */
  readonly sidecar: WorkloadSummary['sidecar'] | 'gateway';
  readonly claims: readonly PodClaims[];
}

function describe(workload: WorkloadSummary, claims: ReadonlyMap<string, PodClaims>): Row {
  return {
    namespace: workload.namespace,
    workload: `${workload.type}/${workload.name}`,
    ready: workload.ready,
    desired: workload.desired,
    ports: workload.ports.map((port) => ({
      ...(port.name !== undefined && { name: port.name }),
      port: port.containerPort,
      protocol: protocolOf(port) ?? 'tcp',
    })),
    sidecar: workload.pods.some((pod) => pod.metadata.labels['kpeering.io/role'] === 'gateway') ? 'gateway' : workload.sidecar,
    claims: workload.pods.flatMap((pod) => claims.get(`${workload.namespace}/${pod.metadata.name}`) ?? []),
  };
}

function textOf(rows: readonly Row[], withNamespace: boolean, namespace: string): string[] {
  if (rows.length === 0) return [withNamespace ? 'no workloads' : `no workloads in namespace ${namespace}`];
  const header = ['WORKLOAD', 'READY', 'PORTS', 'SIDECAR', 'CAPTURE', 'CLAIMED BY'];
  const lines = rows.map((row) => [
    row.workload,
    `${row.ready}/${row.desired}`,
    row.ports.map(({ name, ...port }) => (name === undefined ? shortTarget(port) : `${name}:${shortTarget(port)}`)).join(',') || '-',
    sidecarWord[row.sidecar],
    captureOf(row.claims),
    claimedBy(row.claims),
  ]);
  if (!withNamespace) return table(header, lines);
  return table(
    ['NAMESPACE', ...header],
    lines.map((line, index) => [rows[index]?.namespace ?? '', ...line]),
  );
}

const sidecarWord: Readonly<Record<Row['sidecar'], string>> = { all: 'yes', some: 'some pods', none: 'no', gateway: '(gateway)' };

/** `tproxy` or `redirect`; both where pods differ, as in the middle of a rollout. */
function captureOf(claims: readonly PodClaims[]): string {
  const modes = claims.flatMap((pod) => ('rules' in pod && pod.rules !== undefined ? [pod.rules.mode] : []));
  return [...new Set(modes)].toSorted().join(',') || '-';
}

/** `:80 alice@mbp (alice) since 2026-01-01T10:00:00Z`, each claim once however many pods have it. */
function claimedBy(claims: readonly PodClaims[]): string {
  const texts = claims.flatMap((pod) =>
    'unknown' in pod
      ? [`? (${pod.pod}: ${pod.unknown})`]
      : pod.claims.map(({ holder, state, ...target }) => {
          const user = holder.user === undefined ? '' : ` (${holder.user})`;
          const what = target.address === undefined ? `:${shortTarget(target)}` : `to ${shortTarget(target)}`;
          return `${what} ${holder.name}${user} since ${holder.since}${state === 'grace' ? ', away' : ''}`;
        }),
  );
  return [...new Set(texts)].join('; ') || '-';
}

async function claimsOf(cluster: Cluster, workloads: readonly WorkloadSummary[]): Promise<Map<string, PodClaims>> {
  const pods = workloads.flatMap((workload) => workload.pods.filter((pod) => sidecarOf(pod) !== undefined));
  const answers = new Map<string, PodClaims>();
  if (pods.length === 0) return answers;
  const hello = await laptopHello(cluster);
  const queue = pods.map((pod) => ({ namespace: pod.metadata.namespace ?? cluster.namespace, name: pod.metadata.name }));
  const ask = async (): Promise<void> => {
    for (let pod = queue.pop(); pod !== undefined; pod = queue.pop()) {
      answers.set(`${pod.namespace}/${pod.name}`, await askSidecar(cluster, hello, pod));
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask));
  return answers;
}

async function askSidecar(cluster: Cluster, hello: LocalHello, pod: { namespace: string; name: string }): Promise<PodClaims> {
  const signal = deadline(ASK_MILLISECONDS);
  await using link = new PodLink({
    cluster,
    pod,
    hello,
    onIncoming: (stream) => stream.refuse('denied', 'this session only asks'),
    onEvent: () => undefined,
  });
  try {
    await link.connect({ signal });
    const session = await link.whenUp({ signal });
    const [answer, rules] = await Promise.all([
      session?.request('claims', {}, { signal }),
      session?.request('rules', {}, { signal }).catch((error: unknown) => {
        if (error instanceof RequestError && error.code === 'unknown-method') return undefined;
        throw error;
      }),
    ]);
    const { claims } = claimsAnswerSchema.parse(answer);
    return { pod: pod.name, claims, ...(rules !== undefined && { rules: rulesAnswerSchema.parse(rules) }) };
  } catch (error) {
    return { pod: pod.name, unknown: signal.aborted ? 'no answer in time' : messageOf(error) };
  }
}
