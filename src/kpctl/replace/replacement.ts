import { workloadLabel } from '../../cluster/workloads.ts';
import { restoreWorkload } from '../../operator/replace/restore.ts';
import { deadline } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import type { PreparationContext, Preparation } from '../intercept/preparation.ts';
import { waitForRollout } from '../inject/rollout.ts';
import type { ReplaceableTarget } from './choose.ts';
import type { HeldLease } from './held-lease.ts';

/** As long as a rollout may take, there or back. */
export const ROLLOUT_MILLISECONDS = 300_000;
/** Of the requests that put the original back. What cannot be done by then is the operator's to do. */
const RESTORE_MILLISECONDS = 15_000;

/** A container that is replaced, until it is closed: then the original is put back. */
export class Replacement implements Preparation {
  readonly #context: Pick<PreparationContext, 'cluster' | 'terminal'>;
  readonly #target: ReplaceableTarget;
  readonly #lease: HeldLease;
  #closed: Promise<void> | undefined;

  constructor(context: Pick<PreparationContext, 'cluster' | 'terminal'>, target: ReplaceableTarget, lease: HeldLease) {
    this.#context = context;
    this.#target = target;
    this.#lease = lease;
  }

  get lost(): AbortSignal {
    return this.#lease.lost;
  }

  /** Puts the original back and waits for the rollout; never rejects. When the process ends meanwhile, the rollout goes on all the same. */
  async close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const { terminal } = this.#context;
    const label = workloadLabel(this.#target.workload);
    if (this.lost.aborted) {
      await this.#lease.close();
      return;
    }
    try {
      if (!(await this.#putBack())) return;
    } catch (error) {
      terminal.warn(`the original container of ${label} could not be put back: ${messageOf(error)}`);
      terminal.warn('the operator does so within a minute; "kpctl doctor" tells whether it runs');
      await this.#lease.close();
      return;
    }
    terminal.progress(`the original container of ${label} comes back (Ctrl-C again: do not wait for it)`);
    await this.#waitUntilBack();
  }

  /** False: there was nothing to put back. */
  async #putBack(): Promise<boolean> {
    const signal = deadline(RESTORE_MILLISECONDS);
    this.#lease.watchTemplate(false);
    const isHeld = async (): Promise<boolean> => await this.#lease.isTaken({ signal });
    const restored = await restoreWorkload(this.#context.cluster, this.#target, { fieldManager: 'kpctl', isHeld, signal });
    await this.#lease.release({ signal });
    return restored !== undefined;
  }

  async #waitUntilBack(): Promise<void> {
    const { cluster, terminal } = this.#context;
    try {
      await waitForRollout(cluster, this.#target, { terminal, timeoutMilliseconds: ROLLOUT_MILLISECONDS });
    } catch (error) {
      terminal.warn(messageOf(error));
    }
  }
}
