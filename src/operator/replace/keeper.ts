import { leases, type Lease } from '../../cluster/leases.ts';
import type { Cluster } from '../../cluster/types.ts';
import { deadline } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { OPERATOR_NAME } from '../names.ts';
import { recordEvent } from '../record-event.ts';
import { restoreWorkload, type ReplaceableWorkload } from './restore.ts';
import { replaceableTypes, WORKLOAD_ANNOTATION } from './session.ts';
import { SilentLeases } from './silent-leases.ts';

/** An API server that takes longer for one object has not let others renew their Leases either. */
const PROMPT_MILLISECONDS = 2_000;

export interface KeeperOptions {
  readonly cluster: Pick<Cluster, 'get' | 'patch' | 'create' | 'delete'>;
  readonly log: Logger;
  /** The Leases of sessions, as they are known now. */
  readonly leases: () => Iterable<Lease>;
  /** The workloads that have kpeering's label and none of those Leases. */
  readonly orphans: () => Iterable<ReplaceableWorkload>;
  /** Milliseconds, of a clock that only goes forward. */
  readonly now: () => number;
  readonly silent?: SilentLeases;
  readonly onRestored?: () => void;
}

/** Ends sessions whose Lease has lapsed, and puts back what no session holds. */
export class ReplacementKeeper {
  readonly #options: KeeperOptions;
  readonly #silent: SilentLeases;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#silent = options.silent ?? new SilentLeases();
  }

  /** Looks at everything once. Failures of one object are logged, and it is looked at again the next time. */
  async sweep(signal: AbortSignal): Promise<void> {
    const { now, log } = this.#options;
    const due = new Map<string, ReplaceableWorkload>();
    for (const { lease, verdict } of this.#silent.look(this.#options.leases(), now())) {
      if (!(await this.#asked(lease, signal))) return;
      if (verdict === 'ask' || !(await this.#end(lease, signal))) continue;
      const workload = workloadOf(lease);
      if (workload !== undefined) due.set(keyOf(workload), workload);
    }
    for (const workload of this.#options.orphans()) due.set(keyOf(workload), workload);
    for (const workload of due.values()) {
      signal.throwIfAborted();
      await this.#restore(workload, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        log.warn({ workload: keyOf(workload), err: messageOf(error) }, 'a replaced workload could not be put back yet');
      });
    }
  }

  /** Asks the API server for the Lease. False: it could not be asked, so that nothing is decided. */
  async #asked({ metadata }: Lease, signal: AbortSignal): Promise<boolean> {
    const { cluster, now, log } = this.#options;
    const began = now();
    try {
      const request = { namespace: metadata.namespace ?? '', signal: deadline(PROMPT_MILLISECONDS, signal) };
      this.#silent.answered(await cluster.get(leases, metadata.name, request), now());
      if (now() - began < PROMPT_MILLISECONDS) return true;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Failure && error.code === 'NOT_FOUND') return true;
      log.warn({ err: messageOf(error) }, 'a Lease could not be asked for: all of them get their time anew');
    }
    this.#silent.forgive(now());
    return false;
  }

  /** Deletes a Lease, in the version that was seen: whoever has renewed it meanwhile keeps it. */
  async #end({ metadata, spec }: Lease, signal: AbortSignal): Promise<boolean> {
    const { cluster, log } = this.#options;
    try {
      await cluster.delete(leases, metadata.name, {
        namespace: metadata.namespace ?? '',
        ...(metadata.uid !== undefined && { uid: metadata.uid }),
        ...(metadata.resourceVersion !== undefined && { resourceVersion: metadata.resourceVersion }),
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Failure && error.code === 'NOT_FOUND') return true;
      log.warn({ lease: metadata.name, err: messageOf(error) }, 'a Lease that has lapsed could not be deleted yet');
      return false;
    }
    log.info({ namespace: metadata.namespace, lease: metadata.name, holder: spec.holderIdentity }, 'a session has lapsed');
    return true;
  }

  async #restore(workload: ReplaceableWorkload, signal: AbortSignal): Promise<void> {
    const { cluster, log, onRestored } = this.#options;
    const { namespace } = workload;
    const restored = await restoreWorkload(cluster, workload, {
      fieldManager: OPERATOR_NAME,
      isHeld: async (lease) => await this.#exists(namespace, lease, signal),
      signal,
    });
    if (restored === undefined) return;
    const { object, container } = restored;
    if (container === undefined) {
      // Somebody has put it back by hand (kubectl replace), and left our label.
      log.info({ workload: keyOf(workload) }, 'what was left of a replacement was taken away');
      return;
    }
    onRestored?.();
    log.info({ workload: keyOf(workload), container }, 'put back');
    const kind = { deployment: 'Deployment', statefulset: 'StatefulSet', daemonset: 'DaemonSet' }[workload.type];
    await recordEvent(
      cluster,
      {
        about: { apiVersion: 'apps/v1', kind, namespace, name: workload.name, uid: object.metadata.uid },
        type: 'Normal',
        reason: 'ReplacementEnded',
        message: `container ${container} is put back: the kpctl that had replaced it has not been heard of any more`,
      },
      log,
      { signal },
    );
  }

  async #exists(namespace: string, lease: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#options.cluster.get(leases, lease, { namespace, signal });
      return true;
    } catch (error) {
      if (error instanceof Failure && error.code === 'NOT_FOUND') return false;
      throw error;
    }
  }
}

function workloadOf({ metadata }: Lease): ReplaceableWorkload | undefined {
  const [kind, name] = (metadata.annotations[WORKLOAD_ANNOTATION] ?? '').split('/');
  const type = replaceableTypes.find((known) => known === kind);
  if (type === undefined || name === undefined || name === '' || metadata.namespace === undefined) return undefined;
  return { type, namespace: metadata.namespace, name };
}

function keyOf({ type, namespace, name }: ReplaceableWorkload): string {
  return `${namespace}/${type}/${name}`;
}
