import { jobs, pods, replicaSets, type OwnerReference } from '../cluster/resources.ts';
import type { Cluster } from '../cluster/types.ts';
import { deadline } from '../platform/abort.ts';
import { Failure, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { recordEvent, type EventSubject } from './record-event.ts';

/** The Event's reason. */
export const NOT_INJECTED_REASON = 'NotInjected';

/** Reports that come within so long are told together. A pod without an owner has come to be by then, and has a uid. */
const GATHER_MILLISECONDS = 1_500;
/** As many owners wait to be told of, at most; who is beyond that is not told by an Event, but has the annotation all the same. */
const MOST_WAITING = 500;
const CLOSING_MILLISECONDS = 3_000;

/** A pod that was to be injected and is not. It has no uid yet, and perhaps no name. */
export interface LeftAlonePod {
  readonly namespace: string;
  readonly name: string | undefined;
  /** What makes it: `ReplicaSet web-7d9`. */
  readonly controller: OwnerReference | undefined;
  readonly reason: Failure;
}

interface Waiting extends LeftAlonePod {
  times: number;
}

/** Tells of pods that were left alone by Events on their workloads: one Event for each reason, counted up. */
export class LeftAloneReports implements Closeable {
  readonly #cluster: Cluster;
  readonly #log: Logger;
  readonly #waiting = new Map<string, Waiting>();
  #telling: Promise<void> | undefined;
  #closing = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(cluster: Cluster, log: Logger) {
    this.#cluster = cluster;
    this.#log = log;
  }

  report(pod: LeftAlonePod): void {
    const key = JSON.stringify([pod.namespace, pod.controller?.uid ?? pod.name ?? '', pod.reason.format()]);
    const known = this.#waiting.get(key);
    if (known !== undefined) known.times++;
    else if (this.#waiting.size < MOST_WAITING) this.#waiting.set(key, { ...pod, times: 1 });
    this.#gather();
  }

  /** Tells what waits. */
  async close(): Promise<void> {
    this.#closing = true;
    const late = deadline(CLOSING_MILLISECONDS);
    const expired = new Promise<void>((resolve) => late.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([this.#tellRest(), expired]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #tellRest(): Promise<void> {
    await this.#telling;
    this.#tell();
    await this.#telling;
  }

  #tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#telling = this.#tellAll(waiting).finally(() => {
      this.#telling = undefined;
      if (!this.#closing) this.#gather();
    });
  }

  /** What waits is told in a moment. Not while others are told of: a slow API server must not be asked by more and more of us at once. */
  #gather(): void {
    if (this.#waiting.size > 0 && this.#telling === undefined) this.#timer ??= setTimeout(() => this.#tell(), GATHER_MILLISECONDS);
  }

  /** One after the other, so that a storm of pods is none of requests. Never rejects. */
  async #tellAll(waiting: readonly Waiting[]): Promise<void> {
    for (const pod of waiting) {
      try {
        const about = await subjectOf(this.#cluster, pod);
        if (about === undefined) continue;
        const event = { about, type: 'Warning', reason: NOT_INJECTED_REASON, message: pod.reason.format(), times: pod.times } as const;
        await recordEvent(this.#cluster, event, this.#log);
      } catch (error) {
        this.#log.warn({ reason: messageOf(error), namespace: pod.namespace }, 'the owner of a pod that was left alone is not known');
      }
    }
  }
}

/** What a person knows as the workload: the controller's own controller, the controller, or the pod. Undefined: a pod that did not come to be. */
async function subjectOf(cluster: Cluster, { namespace, name, controller }: LeftAlonePod): Promise<EventSubject | undefined> {
  try {
    if (controller !== undefined) {
      const above = await controllerOf(cluster, namespace, controller);
      const { apiVersion, kind, name: owner, uid } = above ?? controller;
      return { apiVersion, kind, namespace, name: owner, uid };
    }
    if (name === undefined) return undefined;
    const pod = await cluster.get(pods, name, { namespace, signal: deadline(CLOSING_MILLISECONDS) });
    return { apiVersion: 'v1', kind: 'Pod', namespace, name, uid: pod.metadata.uid };
  } catch (error) {
    if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

async function controllerOf(
  cluster: Cluster,
  namespace: string,
  { apiVersion, kind, name }: OwnerReference,
): Promise<OwnerReference | undefined> {
  const options = { namespace, signal: deadline(CLOSING_MILLISECONDS) };
  switch (`${kind}.${apiVersion}`) {
    case 'ReplicaSet.apps/v1':
      return controllerAmong((await cluster.get(replicaSets, name, options)).metadata.ownerReferences);
    case 'Job.batch/v1':
      return controllerAmong((await cluster.get(jobs, name, options)).metadata.ownerReferences);
    default:
      return undefined;
  }
}

/** The one that makes the object, of all that own it. */
export function controllerAmong(owners: readonly OwnerReference[]): OwnerReference | undefined {
  return owners.find(({ controller }) => controller === true);
}
