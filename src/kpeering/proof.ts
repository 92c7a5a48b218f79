import { captureFailed } from '../claims/captures.ts';
import type { ProveAnswer } from '../claims/messages.ts';
import type { Flow, SwitchedInterceptor } from '../interceptor/types.ts';
import { messageOf } from '../platform/errors.ts';
import { ports } from '../platform/ports.ts';
import { RequestError } from '../tunnel/errors.ts';
import type { Answer } from './health.ts';

const OPEN_MILLISECONDS = 10_000;
/** A caller that does not close is reset. */
const ANSWER_MILLISECONDS = 5000;

/**
 * The proof that the rules capture: for ten seconds, a connection from outside to a port on which nobody listens is answered with a
 * secret word. Made inside the pod it proves nothing: what the pod sends to itself is never captured.
 */
export class Proof {
  readonly #listener: SwitchedInterceptor | undefined;
  #token: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** `listener`: in tproxy mode, where those connections arrive; in redirect mode they arrive with the others. */
  constructor(listener?: SwitchedInterceptor) {
    this.#listener = listener;
  }

  /** Whether there is something to be proved now. */
  get active(): boolean {
    return this.#token !== undefined;
  }

  /** Answers such connections from now on, for ten seconds. Rejects with RequestError `capture-failed`. */
  async begin(): Promise<ProveAnswer> {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), OPEN_MILLISECONDS).unref();
    // Not before it is needed: it costs memory.
    const { randomBytes } = await import('node:crypto');
    const token = (this.#token ??= randomBytes(16).toString('hex'));
    try {
      await this.#listener?.open();
    } catch (error) {
      this.end();
      throw captureFailed('the listener of the proof', error);
    }
    return { port: ports.proof, token };
  }

  /** Answers a captured connection to the port of the proof. */
  answer({ socket }: Flow): void {
    socket.on('error', ignored);
    if (this.#token === undefined) {
      // It was on its way here when the proof was over.
      socket.resetAndDestroy();
      return;
    }
    const body = `${this.#token}\n`;
    const head = ['HTTP/1.0 200 OK', 'Content-Type: text/plain', `Content-Length: ${body.length}`, 'Connection: close'];
    const timer = setTimeout(() => socket.resetAndDestroy(), ANSWER_MILLISECONDS).unref();
    socket.once('close', () => clearTimeout(timer));
    // What the caller asks for does not matter; unread, it would make our close a reset.
    socket.resume();
    socket.end([...head, '', body].join('\r\n'));
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#token = undefined;
    // Where neither works the rule is one that ends with its process.
    this.#listener
      ?.release()
      .catch(async () => await this.#listener?.close())
      .catch(ignored);
  }

  async close(): Promise<void> {
    this.end();
    await this.#listener?.close();
  }
}

/** The operator's question, on the health port (`/prove`): `{"port":15307,"token":"…"}`, or 503 and `{"error":…,"message":…}`. */
export async function answerProve(proof: () => Proof): Promise<Answer> {
  try {
    return { status: 200, type: 'application/json', body: `${JSON.stringify(await proof().begin())}\n` };
  } catch (error) {
    const code = error instanceof RequestError ? error.code : 'failed';
    return { status: 503, type: 'application/json', body: `${JSON.stringify({ error: code, message: messageOf(error) })}\n` };
  }
}

function ignored(): void {}
