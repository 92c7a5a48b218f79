import type { Socket } from 'node:net';
import { messageOf } from '../platform/errors.ts';
import type { DialErrorClass, Endpoint, IncomingStream } from '../tunnel/types.ts';
import { DialError, dialTcp, type DialOptions } from './dial.ts';
import { spliceStream, type SpliceResult } from './splice.ts';

/** What became of an incoming stream. */
export type AnswerResult =
  | { readonly kind: 'spliced'; readonly result: SpliceResult }
  /** The destination could not be reached, and the far end was told so. */
  | { readonly kind: 'refused'; readonly errorClass: DialErrorClass; readonly message: string }
  /** The far end gave up while we dialled, or the session was lost. */
  | { readonly kind: 'cancelled' };

/** How an incoming stream is answered. */
export interface AnswerOptions extends DialOptions {
  /** Dials in the place of `dialTcp`: rejects as that does. */
  readonly dial?: (destination: Endpoint, options: DialOptions) => Promise<Socket>;
}

/**
 * Answers an incoming stream: dials first, then accepts, then splices until both directions have ended. Refuses with the dial error's
 * class; `options.signal` refuses as well (class `failed`). Never rejects for what happens on the network.
 */
export async function answerDial(incoming: IncomingStream, destination: Endpoint, options: AnswerOptions = {}): Promise<AnswerResult> {
  const { dial = dialTcp } = options;
  const signal = options.signal === undefined ? incoming.signal : AbortSignal.any([incoming.signal, options.signal]);
  let socket: Socket;
  try {
    socket = await dial(destination, { ...options, signal });
  } catch (error) {
    if (incoming.signal.aborted) return { kind: 'cancelled' };
    const errorClass = error instanceof DialError ? error.errorClass : 'failed';
    const message = messageOf(error);
    incoming.refuse(errorClass, message);
    return { kind: 'refused', errorClass, message };
  }
  if (incoming.signal.aborted) {
    socket.on('error', ignored).resetAndDestroy();
    return { kind: 'cancelled' };
  }
  return { kind: 'spliced', result: await spliceStream(socket, incoming.accept()) };
}

function ignored(): void {}
