import { pods as podResource, replicaSets, type Pod, type ReplicaSet } from '../../cluster/resources.ts';
import { rolloutState } from '../../cluster/rollout-state.ts';
import { templatedResources, type Templated } from '../../cluster/templates.ts';
import type { Cluster } from '../../cluster/types.ts';
import { isAlive, isReady } from '../../cluster/workloads.ts';
import { PART_OF_LABELS } from '../../operator/names.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { Changes } from '../inject/rollout.ts';
import { stuckReason } from '../inject/stuck.ts';
import { Progress } from '../terminal-progress.ts';
import type { Terminal } from '../terminal.ts';

export interface ReadinessOptions extends AbortOptions {
  readonly terminal: Terminal;
  readonly namespace: string;
  /** Names of Deployments. */
  readonly deployments: readonly string[];
  readonly timeoutMilliseconds: number;
}

/** Reasons that waiting does not mend. */
const HOPELESS = /\b(InvalidImageName|ErrImageNeverPull)\b/;
const LOG_LINES = 3;

/**
 * Waits until every pod of the Deployments is of their present template, and ready. What keeps a pod from that is told as soon as its status says it.
 * Failure INSTALL_NOT_READY with that reason, and with the last lines of the log of a container that ends.
 */
export async function waitUntilReady(cluster: Cluster, options: ReadinessOptions): Promise<void> {
  const { terminal, namespace, deployments, timeoutMilliseconds, signal } = options;
  const over = deadline(timeoutMilliseconds, signal);
  const labelSelector = Object.entries(PART_OF_LABELS)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  using progress = new Progress(terminal, `waiting for ${deployments.join(', ')}`);
  await using watch = cluster.watch(templatedResources.deployment, { namespace, labelSelector });
  await using podWatch = cluster.watch(podResource, { namespace, labelSelector });
  await Promise.all([watch.synced, podWatch.synced]);
  using changes = new Changes(watch, podWatch);
  const told = new Set<string>();
  for (;;) {
    const sets = await cluster.list(replicaSets, { namespace, labelSelector, ...(signal !== undefined && { signal }) });
    const pods = [...podWatch.items.values()];
    const states = deployments.map((name) => stateOf(name, watch.items.get(`${namespace}/${name}`), sets, pods));
    const waiting = states.filter(({ ready }) => !ready);
    if (waiting.length === 0) {
      progress.done();
      return;
    }
    for (const { name, reason } of waiting) {
      const line = `${name}: ${reason}`;
      if (reason === undefined || told.has(line)) continue;
      told.add(line);
      terminal.progress(line);
    }
    progress.update(`waiting for ${waiting.map(({ name, text }) => `${name}: ${text}`).join('; ')}`);
    const hopeless = waiting.some(({ reason = '' }) => HOPELESS.test(reason));
    if (over.aborted || hopeless) {
      signal?.throwIfAborted();
      throw await notReady(cluster, waiting, hopeless ? '' : ` after ${Math.round(timeoutMilliseconds / 1000)} s`);
    }
    await changes.next(over, timeoutMilliseconds);
  }
}

interface State {
  readonly name: string;
  readonly ready: boolean;
  /** `1 of 2 new pods are available` */
  readonly text: string;
  readonly reason: string | undefined;
  /** The same, where the time is up: that a pod is not ready yet is a reason, too. */
  readonly lateReason: string | undefined;
  /** Those that are not ready. */
  readonly pods: readonly Pod[];
}

function stateOf(name: string, object: Templated | undefined, sets: readonly ReplicaSet[], pods: readonly Pod[]): State {
  if (object === undefined) return { name, ready: false, text: 'it is not there', reason: undefined, lateReason: undefined, pods: [] };
  const { kind, text } = rolloutState('deployment', object);
  const set = (object.status.observedGeneration ?? 0) < (object.metadata.generation ?? 0) ? undefined : presentSet(object, sets);
  const own = pods.filter((pod) => isAlive(pod) && !isReady(pod) && controllerOf(pod) === set?.metadata.uid);
  return {
    name,
    ready: kind === 'done',
    text,
    reason: stuckReason(object, own)?.replace(/back-off \d+m?\d*s/u, 'back-off'), // which grows with each try
    lateReason: stuckReason(object, own, true),
    pods: own,
  };
}

const REVISION = 'deployment.kubernetes.io/revision';

/** The ReplicaSet of the present template. What is wrong with pods of an older one is about to go with them. */
function presentSet({ metadata }: Templated, sets: readonly ReplicaSet[]): ReplicaSet | undefined {
  return sets.find((set) => controllerOf(set) === metadata.uid && set.metadata.annotations[REVISION] === metadata.annotations[REVISION]);
}

function controllerOf({ metadata }: Pick<Pod, 'metadata'>): string | undefined {
  return metadata.ownerReferences.find(({ controller }) => controller === true)?.uid;
}

async function notReady(cluster: Cluster, waiting: readonly State[], after: string): Promise<Failure> {
  const reasons = waiting.map(({ name, text, lateReason }) => lateReason ?? `${name}: ${text}`);
  const logs = await Promise.all(waiting.map(async ({ pods }) => await lastWords(cluster, pods)));
  const said = logs.flat();
  const image = reasons.some((reason) => /image/i.test(reason));
  return new Failure('INSTALL_NOT_READY', `${waiting.map(({ name }) => name).join(' and ')} did not become ready${after}`, {
    likely: [...reasons, ...said].join('; '),
    remedy: image
      ? 'see --registry, --image, --init-image, --set imagePullSecrets=[NAME], or load the images into the nodes; then run the same again'
      : 'mend that, and run the same again, or take everything away with "kpctl uninstall"',
  });
}

/** What a container that does not go on running has written last. */
async function lastWords(cluster: Cluster, pods: readonly Pod[]): Promise<readonly string[]> {
  const pod = pods.find(({ status }) => status.containerStatuses.some(({ restartCount = 0, ready }) => restartCount > 0 && ready !== true));
  if (pod === undefined) return [];
  const target = { namespace: pod.metadata.namespace ?? cluster.namespace, name: pod.metadata.name };
  try {
    const log = await cluster.podLog(target, { container: 'kpeering', previous: true, tailLines: LOG_LINES, signal: deadline(5_000) });
    return log.trim() === '' ? [] : [`its log ends with: ${log.trim()}`];
  } catch {
    return []; // there is none, or it may not be read
  }
}
