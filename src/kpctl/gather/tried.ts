import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import type { Contents } from './contents.ts';

const ANSWER_MILLISECONDS = 20_000;

/** What a request answers; what it cannot is written down as missing. Rejects only when `signal` aborts. */
export async function tried<T>(
  what: string,
  contents: Contents,
  { signal }: AbortOptions,
  request: (options: Required<AbortOptions>) => Promise<T>,
): Promise<T | undefined> {
  const limited = deadline(ANSWER_MILLISECONDS, signal);
  try {
    return await request({ signal: limited });
  } catch (error) {
    signal?.throwIfAborted();
    const why = limited.aborted ? 'no answer in time' : error instanceof Failure ? `${error.message} [${error.code}]` : messageOf(error);
    contents.lacks(`${what}: ${why}`);
    return undefined;
  }
}
