import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { AnyKind } from '../../cluster/manifests.ts';
import type { Cluster } from '../../cluster/types.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { Progress } from '../terminal-progress.ts';
import type { Terminal } from '../terminal.ts';
import { existing } from './apply.ts';

export interface Going {
  readonly kind: AnyKind;
  readonly name: string;
  readonly namespace?: string;
}

export interface GoneOptions extends AbortOptions {
  readonly terminal: Terminal;
  readonly timeoutMilliseconds: number;
}

const EVERY_MILLISECONDS = 250;

/** Of a namespace that is going: why it is still there. */
const namespaceStatus = z.object({
  status: z.object({
    conditions: z.array(z.object({ type: z.string(), status: z.string(), message: z.string().optional() })).optional(),
  }),
});

/**
 * Waits until objects that were deleted do not exist any more. What a namespace still waits for is told. Failure UNINSTALL_TIMEOUT names what is left, and what
 * the cluster says of it.
 */
export async function gone(cluster: Cluster, objects: readonly Going[], options: GoneOptions): Promise<void> {
  const { terminal, timeoutMilliseconds, signal } = options;
  const over = deadline(timeoutMilliseconds, signal);
  using progress = new Progress(terminal, `waiting until ${describe(objects)} is gone`);
  for (let left = objects; ;) {
    const found = await Promise.all(left.map(async (one) => await reasonToBeThere(cluster, one, signal)));
    left = left.filter((_, index) => found[index] !== undefined);
    if (left.length === 0) {
      progress.done();
      return;
    }
    const reasons = found.filter((reason) => reason !== undefined && reason !== '');
    progress.update(`waiting until ${describe(left)} is gone${reasons.length === 0 ? '' : `: ${reasons.join('; ')}`}`);
    if (over.aborted) {
      signal?.throwIfAborted();
      throw new Failure('UNINSTALL_TIMEOUT', `${describe(left)} is still there after ${Math.round(timeoutMilliseconds / 1000)} s`, {
        ...(reasons.length > 0 && { likely: reasons.join('; ') }),
        remedy: 'mend that, or give it more time with --timeout, and run the same again',
      });
    }
    await delay(EVERY_MILLISECONDS);
  }
}

/** Undefined: it is gone. Else what the cluster says about it, which may be nothing. */
async function reasonToBeThere(
  cluster: Cluster,
  { kind, name, namespace }: Going,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const place = namespace === undefined ? {} : { namespace };
  const object = await existing(cluster.get(kind, name, { ...place, ...(signal !== undefined && { signal }) }));
  if (object === undefined) return undefined;
  const conditions = namespaceStatus.safeParse(object).data?.status.conditions ?? [];
  const failing = conditions.filter(({ type, status }) => status === 'True' && /Failure|Remaining/.test(type));
  return failing.map(({ message = '' }) => message).join('; ');
}

function describe(objects: readonly Going[]): string {
  return objects.map(({ kind, name }) => `${kind.kind} ${name}`).join(', ');
}
