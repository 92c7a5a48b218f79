import { leases, microTime, type Lease } from '../../cluster/leases.ts';
import { templatedResources } from '../../cluster/templates.ts';
import type { Cluster } from '../../cluster/types.ts';
import { workloadLabel } from '../../cluster/workloads.ts';
import { CONTAINER_ANNOTATION, leaseManifest, leaseName, leaseOf } from '../../operator/replace/session.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { ReplaceableTarget } from './choose.ts';

export interface HeldLeaseOptions {
  readonly cluster: Cluster;
  readonly target: ReplaceableTarget;
  readonly container: string;
  /** `ada@laptop` */
  readonly holder: string;
  /** Default: a quarter of the Lease's time. */
  readonly renewMilliseconds?: number;
}

const RENEW_MILLISECONDS = 5_000;

/**
 * The Lease by which this kpctl holds a replacement, renewed until it is closed. `lost` aborts when there is nothing to hold any more: the
 * operator has put the original back, or somebody has changed the template.
 */
export class HeldLease implements Closeable {
  readonly #options: HeldLeaseOptions;
  readonly #lease: Lease;
  readonly #lost = new AbortController();
  readonly #ending = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  /** Whether the template names this Lease, so that it may be missed there. */
  #watchesTemplate = false;

  private constructor(options: HeldLeaseOptions, lease: Lease) {
    this.#options = options;
    this.#lease = lease;
    this.#schedule();
  }

  /** Failure REPLACE_HELD: somebody has it. */
  static async take(options: HeldLeaseOptions, abort: AbortOptions): Promise<HeldLease> {
    const { cluster, target, container, holder } = options;
    const { type, namespace, object, workload } = target;
    const manifest = leaseManifest({ type, kind: workload.kind, object, container, holder });
    try {
      return new HeldLease(options, await cluster.create(leases, manifest, { namespace, ...abort }));
    } catch (error) {
      if (!(error instanceof Failure && error.code === 'API_EXISTS')) throw error;
      await assertFree(cluster, target, abort);
      throw error; // it went away meanwhile: the next try succeeds
    }
  }

  get name(): string {
    return this.#lease.metadata.name;
  }

  /** Aborts with a Failure REPLACE_ENDED. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Whether the template names this Lease from now on: it is missed when it does not any more. */
  watchTemplate(named: boolean): void {
    this.#watchesTemplate = named;
  }

  /** Whether it has lapsed unnoticed, and somebody else holds the workload by now. */
  async isTaken(options: AbortOptions = {}): Promise<boolean> {
    const { namespace } = this.#options.target;
    try {
      const present = await this.#options.cluster.get(leases, this.name, { namespace, ...options });
      return present.metadata.uid !== this.#lease.metadata.uid;
    } catch (error) {
      if (error instanceof Failure && error.code === 'NOT_FOUND') return false;
      throw error;
    }
  }

  /** Gives it back: others may take it. */
  async release(options: AbortOptions = {}): Promise<void> {
    await this.close();
    const { namespace } = this.#options.target;
    const { name, uid } = this.#lease.metadata;
    await this.#options.cluster
      .delete(leases, name, { namespace, ...(uid !== undefined && { uid }), ...options })
      .catch((error: unknown) => {
        if (!isGone(error)) throw error;
      });
  }

  /** Ends the renewing; without a release it lapses. */
  async close(): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #schedule(): void {
    if (this.#ending.signal.aborted || this.#lost.signal.aborted) return;
    const milliseconds = this.#options.renewMilliseconds ?? RENEW_MILLISECONDS;
    this.#timer = setTimeout(() => {
      this.#running = this.#renew(milliseconds).then(() => this.#schedule());
    }, milliseconds);
  }

  /** Whatever else than its end goes wrong is tried again at the next turn. */
  async #renew(milliseconds: number): Promise<void> {
    const { cluster, target } = this.#options;
    const { namespace, type, name, workload } = target;
    const label = workloadLabel(workload);
    const signal = deadline(milliseconds, this.#ending.signal);
    try {
      const { name: lease, uid } = this.#lease.metadata;
      const object = { metadata: { uid }, spec: { renewTime: microTime() } };
      await cluster.patch(leases, lease, { kind: 'merge', object }, { namespace, signal });
    } catch (error) {
      if (isGone(error)) {
        this.#lose(`the original container of ${label} is put back by the operator`, {
          likely: 'this kpctl could not be heard for more than half a minute: the machine slept, or its network was away',
          remedy: 'run it again',
        });
      }
      return;
    }
    if (!this.#watchesTemplate) return;
    try {
      const present = await cluster.get(templatedResources[type], name, { namespace, signal });
      if (leaseOf(present) === this.name) return;
      this.#lose(`the original container of ${label} comes back`, {
        likely: 'somebody has changed the pod template: kpctl eject, a new release, kubectl replace',
        remedy: 'run it again when that is done',
      });
    } catch (error) {
      if (error instanceof Failure && error.code === 'NOT_FOUND') this.#lose(`${label} was deleted`, {});
    }
  }

  #lose(what: string, options: { readonly likely?: string; readonly remedy?: string }): void {
    if (!this.#ending.signal.aborted) this.#lost.abort(new Failure('REPLACE_ENDED', what, options));
  }
}

/** Throws a Failure REPLACE_HELD where somebody has replaced a container of the workload already. */
export async function assertFree(
  cluster: Cluster,
  { type, name, namespace, workload }: ReplaceableTarget,
  abort: AbortOptions,
): Promise<void> {
  let lease: Lease;
  try {
    lease = await cluster.get(leases, leaseName(type, name), { namespace, ...abort });
  } catch (error) {
    if (error instanceof Failure && error.code === 'NOT_FOUND') return;
    throw error;
  }
  const { holderIdentity = 'somebody', acquireTime, renewTime } = lease.spec;
  const container = lease.metadata.annotations[CONTAINER_ANNOTATION] ?? '';
  throw new Failure(
    'REPLACE_HELD',
    `container ${container} of ${workloadLabel(workload)} is replaced by ${holderIdentity} since ${acquireTime ?? 'some time'}`,
    {
      likely: `last heard of at ${renewTime ?? 'no known time'}`,
      remedy: 'ask them to leave; if their kpctl is gone, the original comes back within a minute: try again then',
    },
  );
}

/** Also when another session's Lease has its name. */
function isGone(error: unknown): boolean {
  return error instanceof Failure && ['NOT_FOUND', 'API_CONFLICT', 'API_INVALID'].includes(error.code);
}
