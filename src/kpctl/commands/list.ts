import type { Command } from 'commander';
import type { ClaimsAnswer, RulesAnswer } from '../../claims/messages.ts';
import { namespaces, type Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { listWorkloads, protocolOf, sidecarOf, type PortProtocol, type WorkloadSummary } from '../../cluster/workloads.ts';
import { deadline } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import { askSidecar } from '../links/ask-sidecar.ts';
import { laptopHello } from '../links/identity.ts';
import type { LinkedPod } from '../links/pod-link.ts';
import { shortTarget } from '../links/targets.ts';
import { openCluster, outputFormat, withClusterOptions, withOutputOption, type ClusterOptions } from '../options.ts';
import { during } from '../terminal-progress.ts';
import { printResult, table, type Terminal } from '../terminal.ts';
import { sidecarState, type SidecarState } from '../workloads/sidecar-state.ts';
import type { LocalHello } from '../../tunnel/index.ts';

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
    const claims = await during(terminal, 'asking the sidecars', async () => await claimsOf(cluster, workloads));
    const labels = await labelsOfNamespaces(cluster, all ? undefined : cluster.namespace);
    const rows = workloads.map((workload) => describe(workload, labels.get(workload.namespace), claims));
    printResult(terminal, outputFormat(options), rows, () => textOf(rows, all, cluster.namespace));
  });
}

/** kpeering's own workloads: the exit for runs without a workload, and the operator. */
type OwnRole = 'gateway' | 'operator';

interface Row {
  readonly namespace: string;
  readonly workload: string;
  readonly ready: number;
  readonly desired: number;
  readonly ports: readonly { readonly name?: string; readonly port: number; readonly protocol: PortProtocol }[];
  /** `gateway` and `operator`: kpeering itself. */
  readonly sidecar: SidecarState['sidecar'] | OwnRole;
  readonly withSidecar: number;
  /** Its label was changed after its pods were made: they follow when they are made anew. */
  readonly restartPending: boolean;
  /** Why the operator has left pods alone. */
  readonly refused?: string;
  readonly claims: readonly PodClaims[];
}

function describe(
  workload: WorkloadSummary,
  namespaceLabels: Readonly<Record<string, string>> | undefined,
  claims: ReadonlyMap<string, PodClaims>,
): Row {
  const { sidecar, withSidecar, restartPending, refused } = sidecarState(workload, namespaceLabels);
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
    sidecar: workload.pods.map(ownRole).find((role) => role !== undefined) ?? sidecar,
    withSidecar,
    restartPending,
    ...(refused !== undefined && { refused }),
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
    sidecarOfRow(row),
    captureOf(row.claims),
    claimedBy(row.claims),
  ]);
  if (!withNamespace) return table(header, lines);
  return table(
    ['NAMESPACE', ...header],
    lines.map((line, index) => [rows[index]?.namespace ?? '', ...line]),
  );
}

/** `injected`, `none (restart pending)`, `some pods: 1/2`, `none (refused: INJECT_HOST_NETWORK)`. */
function sidecarOfRow({ sidecar, withSidecar, ready, desired, restartPending, refused }: Row): string {
  if (sidecar === 'gateway' || sidecar === 'operator') return `(${sidecar})`;
  const word = sidecar === 'some pods' ? `${sidecar}: ${withSidecar}/${Math.max(ready, desired)}` : sidecar;
  if (refused !== undefined) return `${word} (refused: ${/\[([A-Z_]+)\]$/.exec(refused)?.[1] ?? refused})`;
  return restartPending ? `${word} (restart pending)` : word;
}

function ownRole({ metadata: { labels } }: Pod): OwnRole | undefined {
  if (labels['kpeering.io/role'] === 'gateway') return 'gateway';
  return labels['app.kubernetes.io/name'] === 'kpeering' && labels['app.kubernetes.io/component'] === 'operator' ? 'operator' : undefined;
}

/** Undefined for a namespace that the user may not read. */
async function labelsOfNamespaces(
  cluster: Cluster,
  only: string | undefined,
): Promise<ReadonlyMap<string, Readonly<Record<string, string>> | undefined>> {
  try {
    const found = only === undefined ? await cluster.list(namespaces) : [await cluster.get(namespaces, only)];
    return new Map(found.map(({ metadata }) => [metadata.name, metadata.labels]));
  } catch (error) {
    // Without the right, or in a namespace that does not exist, labels of the templates are all that is known.
    if (error instanceof Failure && ['API_FORBIDDEN', 'NOT_FOUND'].includes(error.code)) return new Map();
    throw error;
  }
}

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
  const pods = workloads.flatMap((workload) => workload.pods.filter((pod) => sidecarOf(pod) !== undefined && ownRole(pod) !== 'operator'));
  const answers = new Map<string, PodClaims>();
  if (pods.length === 0) return answers;
  const hello = await laptopHello(cluster);
  const queue = pods.map((pod) => ({ namespace: pod.metadata.namespace ?? cluster.namespace, name: pod.metadata.name }));
  const ask = async (): Promise<void> => {
    for (let pod = queue.pop(); pod !== undefined; pod = queue.pop()) {
      answers.set(`${pod.namespace}/${pod.name}`, await claimsOfPod(cluster, hello, pod));
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask));
  return answers;
}

async function claimsOfPod(cluster: Cluster, hello: LocalHello, pod: LinkedPod): Promise<PodClaims> {
  const signal = deadline(ASK_MILLISECONDS);
  try {
    const { claims, rules } = await askSidecar(cluster, hello, pod, { signal });
    return { pod: pod.name, claims, ...(rules !== undefined && { rules }) };
  } catch (error) {
    return { pod: pod.name, unknown: signal.aborted ? 'no answer in time' : messageOf(error) };
  }
}
