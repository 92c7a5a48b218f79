import { Counter, Gauge } from 'prom-client';
import { leases } from '../../cluster/leases.ts';
import { templatedResources } from '../../cluster/templates.ts';
import type { Closeable } from '../../platform/owned.ts';
import { OwnedStack } from '../../platform/owned.ts';
import { messageOf } from '../../platform/errors.ts';
import type { LeaderContext, LeaderTask } from '../leader-task.ts';
import { ReplacementKeeper } from './keeper.ts';
import type { ReplaceableWorkload } from './restore.ts';
import { leaseOf, REPLACED_LABEL, replaceableTypes, SESSION_LABEL } from './session.ts';

const SWEEP_MILLISECONDS = 5_000;

/** Puts back what `kpctl intercept --replace` has replaced, when that kpctl is not heard of any more. */
export const replacements: LeaderTask = { name: 'replacements', start };

async function start({ cluster, log, metrics }: LeaderContext): Promise<Closeable> {
  const stack = new OwnedStack();
  const ending = new AbortController();
  try {
    const sessions = stack.use(cluster.watch(leases, { labelSelector: `${SESSION_LABEL}=true` }));
    const replaced = replaceableTypes.map((type) => ({
      type,
      watch: stack.use(cluster.watch(templatedResources[type], { labelSelector: `${REPLACED_LABEL}=true` })),
    }));
    await Promise.all([sessions.synced, ...replaced.map(async ({ watch }) => await watch.synced)]);
    const orphans = (): readonly ReplaceableWorkload[] =>
      replaced.flatMap(({ type, watch }) =>
        [...watch.items.values()]
          .filter((object) => !sessions.items.has(`${object.metadata.namespace}/${leaseOf(object)}`))
          .map(({ metadata }) => ({ type, namespace: metadata.namespace ?? '', name: metadata.name })),
      );
    const restored = new Counter({
      name: 'kpeering_restored_workloads_total',
      help: 'Workloads whose container was put back because the kpctl that had replaced it was gone',
      registers: [metrics],
    });
    metrics.registerMetric(
      new Gauge({
        name: 'kpeering_replaced_workloads',
        help: 'Workloads of which a container is replaced now',
        registers: [],
        collect() {
          this.set(replaced.reduce((sum, { watch }) => sum + watch.items.size, 0));
        },
      }),
    );
    const keeper = new ReplacementKeeper({
      cluster,
      log,
      leases: () => sessions.items.values(),
      orphans,
      now: () => performance.now(),
      onRestored: () => restored.inc(),
    });
    const sweeping = new Sweeping(
      async () => await keeper.sweep(ending.signal),
      (error) => {
        if (!ending.signal.aborted) log.error({ err: messageOf(error) }, 'a sweep of the replaced workloads failed');
      },
    );
    stack.use(sweeping);
    sessions.onChange(({ type }) => {
      if (type === 'deleted') sweeping.soon();
    });
    for (const { watch } of replaced) watch.onChange(() => sweeping.soon());
  } catch (error) {
    await stack.close();
    throw error;
  }
  const close = async (): Promise<void> => {
    ending.abort();
    await stack.close();
  };
  return { close, [Symbol.asyncDispose]: close };
}

/** Calls `sweep` every five seconds, and soon after somebody asks for it; never twice at a time. */
class Sweeping implements Closeable {
  readonly #sweep: () => Promise<void>;
  readonly #failed: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #asked = false;
  #closed = false;

  constructor(sweep: () => Promise<void>, failed: (error: unknown) => void) {
    this.#sweep = sweep;
    this.#failed = failed;
    this.soon();
  }

  soon(): void {
    // Not put off by who asks again: a workload that changes all the time would keep the others from being put back.
    if (this.#asked) return;
    this.#asked = true;
    if (this.#running === undefined) this.#schedule(100);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #schedule(milliseconds: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#running = this.#run();
    }, milliseconds);
  }

  async #run(): Promise<void> {
    this.#asked = false;
    await this.#sweep().catch(this.#failed);
    this.#running = undefined;
    this.#schedule(this.#asked ? 100 : SWEEP_MILLISECONDS);
  }
}
