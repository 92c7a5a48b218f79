import { OpenError } from './errors.ts';
import type { Refusal } from './open-messages.ts';
import type { DialErrorClass, IncomingStream, OpenRequest, SessionEnd, TunnelStream } from './types.ts';

/** What an incoming stream needs of its session. */
export interface IncomingHost {
  accepted(incoming: PendingIncoming): TunnelStream;
  refused(incoming: PendingIncoming, refusal: Refusal): void;
}

/** An OPEN of the far end that waits for its answer. */
export class PendingIncoming implements IncomingStream {
  readonly id: number;
  readonly request: OpenRequest;
  readonly #host: IncomingHost;
  #answered = false;
  #controller: AbortController | undefined;
  #cancelled: Error | undefined;

  constructor(id: number, request: OpenRequest, host: IncomingHost) {
    this.id = id;
    this.request = request;
    this.#host = host;
  }

  get signal(): AbortSignal {
    // Made when it is asked for: an AbortController costs more than the rest of an OPEN.
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#cancelled !== undefined) this.#controller.abort(this.#cancelled);
    }
    return this.#controller.signal;
  }

  /** After the far end gave up, the stream that this returns is reset already. */
  accept(): TunnelStream {
    this.#answer();
    return this.#host.accepted(this);
  }

  refuse(errorClass: DialErrorClass, message: string): void {
    this.#answer();
    if (this.#cancelled === undefined) this.#host.refused(this, { errorClass, message });
  }

  /** The far end gave up, or the session ended. */
  cancel(cause: Error): void {
    this.#cancelled = cause;
    this.#controller?.abort(cause);
  }

  #answer(): void {
    if (this.#answered) throw new Error(`stream ${this.id} was answered already`);
    this.#answered = true;
  }
}

/** Who waits for the answer to an OPEN of ours. */
export interface PendingOutgoing {
  accepted(stream: TunnelStream): void;
  refused(error: OpenError): void;
}

/** The OPENs of ours that wait for their answers. */
export class OutgoingOpens {
  readonly #pending = new Map<number, PendingOutgoing>();

  has(id: number): boolean {
    return this.#pending.has(id);
  }

  /** Resolves or rejects with the answer to `id`; `giveUp` is called when the signal aborts before. */
  async answerTo(id: number, signal: AbortSignal | undefined, giveUp: () => void): Promise<TunnelStream> {
    const { promise, resolve, reject } = Promise.withResolvers<TunnelStream>();
    this.#pending.set(id, { accepted: resolve, refused: reject });
    if (signal === undefined) return promise;
    const abort = (): void => {
      if (!this.#pending.delete(id)) return;
      giveUp();
      reject(abortedError(signal));
    };
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** The answer has come; undefined: nobody waits for it. */
  take(id: number): PendingOutgoing | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  lost(cause: Error): void {
    for (const pending of this.#pending.values()) pending.refused(lostError(cause));
    this.#pending.clear();
  }
}

/** For the messages of what a session's end takes with it. */
export function lostError(cause: Error): OpenError {
  return new OpenError('lost', `the session ended: ${cause.message}`, { cause });
}

/** For an opener that gave up. */
export function abortedError(signal: AbortSignal): OpenError {
  return new OpenError('aborted', 'the stream was given up before the far end answered', { cause: signal.reason });
}

/** A session's end as the cause of what it takes with it. */
export function causeOf(end: SessionEnd): Error {
  if (end.kind === 'lost') return end.cause;
  return new Error(end.kind === 'goodbye' ? 'the far end said goodbye' : 'it was closed');
}
