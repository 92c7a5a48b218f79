import type { AbortOptions } from '../../platform/abort.ts';

/**
 * Takes steps beside each other. When one fails the others are given up, and have ended before its failure is told: the process may end directly after, and what
 * changes the cluster is not to stay half done.
 */
export async function together<T extends readonly Promise<unknown>[]>(
  begin: (abort: Required<AbortOptions>) => readonly [...T],
  { signal }: Required<AbortOptions>,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const failing = new AbortController();
  const steps = begin({ signal: AbortSignal.any([signal, failing.signal]) });
  try {
    return await Promise.all(steps);
  } catch (error) {
    failing.abort(error);
    await Promise.allSettled(steps);
    throw error;
  }
}
