import { get } from 'node:http';
import type { AbortOptions } from '../../platform/abort.ts';
import { messageOf, systemCode } from '../../platform/errors.ts';

/** Where an HTTP GET is sent. */
export interface Question {
  readonly address: string;
  readonly port: number;
  readonly path: string;
}

/** What became of it. */
export type Answer =
  /** `status`: 0 for what is not HTTP. */
  | { readonly kind: 'answered'; readonly status: number; readonly text: string }
  /** Somebody said no: no listener, or a reset before an answer. */
  | { readonly kind: 'refused'; readonly message: string }
  /** Nobody said anything, or the way there is closed. */
  | { readonly kind: 'silent'; readonly message: string };

/** Sends a {@link Question}, never rejects. */
export type Ask = (question: Question, options: AbortOptions) => Promise<Answer>;

/** Ours are a line or two. */
const MOST_CHARACTERS = 16_384;

/** Asks from this process' own network. An answer that takes longer than `signal` allows is silence. */
export const askFromHere: Ask = async ({ address, port, path }, { signal }) => {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const request = get({ host: address, port, path, agent: false, ...(signal !== undefined && { signal }) }, (response) => {
    let text = '';
    const answered = (): void => resolve({ kind: 'answered', status: response.statusCode ?? 0, text });
    response.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      if (text.length > MOST_CHARACTERS) response.destroy();
    });
    response.on('end', answered).on('error', answered).on('close', answered);
  });
  request.on('error', (error) => resolve(answerOf(error, signal?.aborted === true)));
  return await promise;
};

function answerOf(error: unknown, late: boolean): Answer {
  if (late) return { kind: 'silent', message: 'no answer in time' };
  const code = systemCode(error) ?? '';
  if (code.startsWith('HPE_')) return { kind: 'answered', status: 0, text: '' };
  if (code === 'ECONNREFUSED') return { kind: 'refused', message: 'connection refused' };
  if (code === 'ECONNRESET' || code === 'EPIPE') return { kind: 'refused', message: 'the connection was reset' };
  return { kind: 'silent', message: messageOf(error) };
}
