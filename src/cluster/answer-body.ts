import type { IncomingMessage } from 'node:http';
import { Failure } from '../platform/errors.ts';

/** An answer may not be longer: a page of 500 objects stays far below. */
const MAX_ANSWER = 512 * 1024 * 1024;

/** All of an answer, as text. Rejects with what the signal aborts with; Failure API_ERROR for one that is too long. */
export async function bodyOf(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  const onAbort = (): void => void response.destroy(signal.reason instanceof Error ? signal.reason : undefined);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_ANSWER) throw new Failure('API_ERROR', `an answer of the API server is longer than ${MAX_ANSWER} bytes`);
      chunks.push(chunk);
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return Buffer.concat(chunks).toString('utf8');
}
