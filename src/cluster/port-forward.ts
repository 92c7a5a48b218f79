import type { Duplex } from 'node:stream';
import type { AbortOptions } from '../platform/abort.ts';
import { Failure, messageOf, systemCode } from '../platform/errors.ts';
import type { ApiClient } from './api-client.ts';
import { AnswerError } from './api-failures.ts';
import { NotSpokenError } from './port-forward-failures.ts';
import { spdyPortForward } from './spdy/port-forward.ts';
import type { PodPort, Transport } from './types.ts';

const protocols: Readonly<Record<Transport, typeof spdyPortForward>> = {
  spdy: spdyPortForward,
  // Loaded by those who need it.
  websocket: async (...given) => await (await import('./websocket/port-forward.ts')).webSocketPortForward(...given),
};

/**
 * Port-forwards to one API server: over SPDY, and over WebSocket where something in front of the server lets SPDY not through. What has once
 * worked is used from then on, so that finding out costs once; it is forgotten when it is refused.
 */
export class PortForwarder {
  readonly #client: ApiClient;
  readonly #forced: Transport | undefined;
  #worked: Transport | undefined;

  /** `forced`: this one only, whatever happens. */
  constructor(client: ApiClient, forced?: Transport) {
    this.#client = client;
    this.#forced = forced;
  }

  /** What is used: undefined until a port-forward has been opened. */
  get transport(): Transport | undefined {
    return this.#worked;
  }

  /** See `Cluster.portForward`. */
  async open(target: PodPort, options: AbortOptions = {}): Promise<Duplex> {
    const known = this.#forced ?? this.#worked;
    if (known !== undefined) {
      try {
        return await this.#by(known, target, options);
      } catch (error) {
        if (refusalOf(error) !== undefined && this.#worked === known) this.#worked = undefined;
        throw error;
      }
    }
    try {
      return await this.#by('spdy', target, options);
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === undefined || options.signal?.aborted === true) throw error;
      return await this.#instead(error, refusal, target, options);
    }
  }

  async #by(transport: Transport, target: PodPort, options: AbortOptions): Promise<Duplex> {
    const duplex = await protocols[transport](this.#client, target, options);
    this.#worked = transport;
    return duplex;
  }

  async #instead(spdy: unknown, refusal: string, target: PodPort, options: AbortOptions): Promise<Duplex> {
    try {
      return await this.#by('websocket', target, options);
    } catch (error) {
      if (options.signal?.aborted === true) throw error;
      if (error instanceof Failure && error.code === 'API_FORBIDDEN' && answerOf(error)?.fromApi === true) {
        throw new Failure(error.code, error.message, {
          likely: `SPDY does not get through to the API server (${refusal}), and WebSocket needs the right to get pods/portforward beside that to create`,
          ...(error.remedy !== undefined && { remedy: error.remedy }),
          cause: error,
        });
      }
      const second = refusalOf(error);
      if (second === undefined) throw error;
      // The API server's own words, twice: not the way is the matter.
      if (answerOf(spdy)?.fromApi === true && answerOf(error)?.fromApi === true) throw spdy;
      throw new Failure(
        'TRANSPORT_REFUSED',
        `no port-forward gets through to ${target.namespace}/${target.pod}: SPDY: ${refusal}; WebSocket: ${second}`,
        {
          likely: 'a gateway or a proxy in front of the API server lets no upgrade through',
          remedy: 'use a kubeconfig with the API server itself, or have WebSocket allowed there',
          cause: error,
        },
      );
    }
  }
}

/**
 * Why an attempt says that this protocol does not get through, where another may; undefined for what would be the same over any: the API
 * server's own answers about who one is, what one may and what there is, and a server that cannot be connected to.
 */
function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof Failure)) return undefined;
  const answer = answerOf(error);
  if (answer !== undefined) {
    const about = answer.fromApi && [401, 403, 404, 429].includes(answer.status);
    return about ? undefined : `the answer was ${answer.status}${answer.fromApi ? ` (${error.message})` : ', not from the API server'}`;
  }
  if (error.cause instanceof NotSpokenError) return error.cause.message;
  // The connection was made, and ended by whoever did not like what was asked for.
  const reset = error.code === 'API_UNREACHABLE' && ['ECONNRESET', 'EPIPE'].includes(systemCode(error.cause) ?? '');
  return reset ? `the connection ended: ${messageOf(error.cause)}` : undefined;
}

function answerOf(error: unknown): AnswerError | undefined {
  return error instanceof Failure && error.cause instanceof AnswerError ? error.cause : undefined;
}
