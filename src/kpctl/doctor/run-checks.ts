import type { AbortOptions } from '../../platform/abort.ts';
import { deadline } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import { failed, unknown, type Finding, type Seen } from './finding.ts';

/** One thing that the doctor looks at. `T` is what it looks into. */
export interface Check<T> {
  /** Stable, for `-o json`: `webhook`. */
  readonly id: string;
  /** A Failure that it throws is a finding `unknown`. `signal` is its deadline. */
  look(into: T, options: Required<AbortOptions>): Promise<readonly Seen[]>;
}

export interface RunChecksOptions extends AbortOptions {
  /** Of each check. */
  readonly milliseconds: number;
  /** Called as each has ended, with those that have not. */
  readonly onEnded?: (left: readonly string[]) => void;
}

/** Runs all checks at once, each to its deadline, and answers what they found in the order of the checks. Rejects only when `signal` aborts. */
export async function runChecks<T>(
  checks: readonly Check<T>[],
  into: T,
  { milliseconds, signal, onEnded = () => undefined }: RunChecksOptions,
): Promise<readonly Finding[]> {
  const left = new Set(checks.map(({ id }) => id));
  const found = await Promise.all(
    checks.map(async (check) => {
      const seen = await lookInTime(check, into, deadline(milliseconds, signal));
      left.delete(check.id);
      onEnded([...left]);
      return seen.map((one) => ({ check: check.id, ...one }));
    }),
  );
  signal?.throwIfAborted();
  return found.flat();
}

async function lookInTime<T>(check: Check<T>, into: T, signal: AbortSignal): Promise<readonly Seen[]> {
  const late = Promise.withResolvers<'late'>();
  const onAbort = (): void => late.resolve('late');
  signal.addEventListener('abort', onAbort, { once: true });
  // The timer of a deadline does not hold the process, and a check that waits for nothing else must not end it.
  const hold = setInterval(() => undefined, 1_000);
  try {
    const seen = await Promise.race([check.look(into, { signal }), late.promise]);
    return seen === 'late' ? [unknown('no answer in time')] : seen;
  } catch (error) {
    if (signal.aborted) return [unknown('no answer in time')];
    if (error instanceof Failure) return [failed('unknown', error)];
    return [unknown(`this check has a bug, please report it: ${messageOf(error)}`)];
  } finally {
    clearInterval(hold);
    signal.removeEventListener('abort', onAbort);
  }
}
