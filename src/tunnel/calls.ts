import { z } from 'zod';
import type { AbortOptions } from '../platform/abort.ts';
import { messageOf } from '../platform/errors.ts';
import { ProtocolError, RequestError } from './errors.ts';
import { FrameType, limits } from './frames.ts';
import { parseJson } from './open-messages.ts';
import type { SessionHandlers } from './types.ts';

const callSchema = z.object({ method: z.string().min(1).max(100), parameters: z.unknown().optional() });
const errorSchema = z.object({ code: z.string(), message: z.string().catch(''), details: z.unknown().optional() });

/** Sends a frame whose `stream` field is the request's number. */
export type SendCall = (type: number, id: number, payload: Buffer) => void;

interface Waiting {
  answered(value: unknown): void;
  failed(error: RequestError): void;
}

const NO_PAYLOAD = Buffer.alloc(0);

/** Requests, answers and notices of a session, JSON both ways (docs/protocol.md, section 7). */
export class Calls {
  readonly #send: SendCall;
  readonly #handlers: Pick<SessionHandlers, 'request' | 'notified'>;
  /** Ours, by number. */
  readonly #waiting = new Map<number, Waiting>();
  /** The far end's, by number. */
  readonly #serving = new Map<number, AbortController>();
  #lastId = 0;
  #closed = false;

  constructor(handlers: Pick<SessionHandlers, 'request' | 'notified'>, send: SendCall) {
    this.#handlers = handlers;
    this.#send = send;
  }

  /** See `Session.request`. */
  async request(method: string, parameters: unknown, options: AbortOptions = {}): Promise<unknown> {
    const { signal } = options;
    if (this.#closed) throw new RequestError('lost', `${method}: the session has ended`);
    if (signal?.aborted === true) throw new RequestError('aborted', `${method} was given up`, { cause: signal.reason });
    const payload = encode({ method, parameters });
    if (payload === undefined) throw new RequestError('too-large', `${method}: the parameters are too large`);
    const id = this.#nextId();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const abort = (): void => {
      this.#send(FrameType.cancel, id, NO_PAYLOAD);
      reject(new RequestError('aborted', `${method} was given up`, { cause: signal?.reason }));
    };
    this.#waiting.set(id, { answered: resolve, failed: reject });
    signal?.addEventListener('abort', abort, { once: true });
    this.#send(FrameType.request, id, payload);
    try {
      return await promise;
    } finally {
      this.#waiting.delete(id);
      signal?.removeEventListener('abort', abort);
    }
  }

  /** See `Session.notify`. Throws RequestError `too-large`. */
  notify(method: string, parameters: unknown): void {
    const payload = encode({ method, parameters });
    if (payload === undefined) throw new RequestError('too-large', `${method}: the parameters are too large`);
    this.#send(FrameType.notice, 0, payload);
  }

  /** A frame of the far end. Throws ProtocolError. */
  received(type: number, id: number, payload: Buffer): void {
    switch (type) {
      case FrameType.request:
        this.#requested(id, payload);
        return;
      case FrameType.answer:
        this.#waiting.get(id)?.answered(parseJson(payload, 'ANSWER'));
        return;
      case FrameType.error: {
        const parsed = errorSchema.safeParse(parseJson(payload, 'ERROR'));
        if (!parsed.success) throw new ProtocolError('an ERROR without a code');
        const { code, message, details } = parsed.data;
        this.#waiting.get(id)?.failed(new RequestError(code, message.slice(0, limits.messageLength), { details }));
        return;
      }
      case FrameType.cancel:
        this.#serving.get(id)?.abort(new RequestError('aborted', 'the far end gave the request up'));
        return;
      default: {
        const { method, parameters } = decodeCall(payload, 'NOTICE');
        this.#handlers.notified(method, parameters);
      }
    }
  }

  /** The session has ended: ours are rejected with `lost`, the far end's are aborted. */
  close(cause: Error): void {
    this.#closed = true;
    for (const waiting of this.#waiting.values())
      waiting.failed(new RequestError('lost', `the session ended: ${cause.message}`, { cause }));
    for (const controller of this.#serving.values()) controller.abort(cause);
  }

  #requested(id: number, payload: Buffer): void {
    const { method, parameters } = decodeCall(payload, 'REQUEST');
    if (this.#serving.has(id)) throw new ProtocolError(`the request number ${id} is in use`);
    if (this.#serving.size >= limits.pendingRequests) {
      this.#fail(id, new RequestError('busy', 'too many requests at once'));
      return;
    }
    const controller = new AbortController();
    this.#serving.set(id, controller);
    void this.#serve(id, method, parameters, controller);
  }

  /** Never rejects. */
  async #serve(id: number, method: string, parameters: unknown, controller: AbortController): Promise<void> {
    try {
      const value = await this.#handlers.request(method, parameters, { signal: controller.signal });
      const payload = encode(value ?? null);
      if (payload === undefined) throw new RequestError('too-large', `the answer to ${method} is too large`);
      if (!controller.signal.aborted) this.#send(FrameType.answer, id, payload);
    } catch (error) {
      if (!controller.signal.aborted) this.#fail(id, error);
    } finally {
      this.#serving.delete(id);
    }
  }

  #fail(id: number, error: unknown): void {
    const { code, details } = error instanceof RequestError ? error : { code: 'internal', details: undefined };
    const message = messageOf(error).slice(0, limits.messageLength);
    const payload = encode({ code, message, details }) ?? encode({ code, message });
    if (payload !== undefined) this.#send(FrameType.error, id, payload);
  }

  #nextId(): number {
    do this.#lastId = this.#lastId === 0xffff_ffff ? 1 : this.#lastId + 1;
    while (this.#waiting.has(this.#lastId));
    return this.#lastId;
  }
}

function decodeCall(payload: Buffer, frame: string): { readonly method: string; readonly parameters: unknown } {
  const parsed = callSchema.safeParse(parseJson(payload, frame));
  if (!parsed.success) throw new ProtocolError(`a ${frame} without a method`);
  return { method: parsed.data.method, parameters: parsed.data.parameters };
}

/** Undefined: over the limit of a frame. */
function encode(value: unknown): Buffer | undefined {
  const payload = Buffer.from(JSON.stringify(value));
  return payload.length > limits.frameBytes ? undefined : payload;
}
