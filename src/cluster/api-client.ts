import type { Agent, ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AbortOptions } from '../platform/abort.ts';
import { Failure, systemCode } from '../platform/errors.ts';
import { isIncomingMessage, request as httpRequest } from '../platform/http.ts';
import { version } from '../platform/version.ts';
import { ApiAgent } from './api-agent.ts';
import { failureOfConnection, failureOfStatus, type Intent } from './api-failures.ts';
import type { ApiServer } from './api-server.ts';
import { bodyOf } from './answer-body.ts';
import type { ClientCertificate, Credential, CredentialSource } from './credential.ts';

/** A request to the API server. */
export interface ApiRequest extends AbortOptions {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** From the API's root, with its query: `/api/v1/pods?limit=500`. */
  readonly path: string;
  readonly headers?: OutgoingHttpHeaders;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Of `body`; absent: `application/json`. */
  readonly contentType?: string;
  /** False: not sent again on another connection when the first broke before an answer, since it may have had its effect. */
  readonly repeatable?: boolean;
  readonly intent: Intent;
}

/** An upgraded connection: the caller's to destroy. */
export interface Upgraded {
  readonly socket: Duplex;
  /** What was read behind the answer's headers. */
  readonly head: Buffer;
  readonly response: IncomingMessage;
}

/** What a library needs that makes the request for an upgrade by itself. */
export interface Handshake {
  /** `http://HOST/PREFIX/api/v1/…`: TLS is the agent's. */
  readonly url: string;
  /** Whether there is TLS. */
  readonly secure: boolean;
  /** All that every request of ours carries: credentials, impersonation, Host. */
  readonly headers: OutgoingHttpHeaders;
  /** Connects as the kubeconfig says: TLS, client certificate, proxy. */
  readonly agent: Agent;
  /** Aborts when no answer came in time, too. */
  readonly signal: AbortSignal;
}

/** How long an answer may take from the request to its last byte. A stream only has to begin by then. */
const ANSWER_MILLISECONDS = 30_000;
/** 429 and 503 with Retry-After are asked again so often. */
const MAX_BUSY_RETRIES = 3;
const MAX_RETRY_AFTER_SECONDS = 10;

/**
 * HTTP/1.1 to one API server: kept connections, authentication renewed after a 401, one more try on a kept
 * connection that was closed under us (but not of a request that would not be safe to repeat), and Failures for whatever
 * goes wrong. Headers are sent with every request and connection (impersonation).
 */
export class ApiClient {
  readonly server: ApiServer;
  readonly #credentials: CredentialSource;
  readonly #headers: OutgoingHttpHeaders;
  /** One per client certificate: a renewed one must not travel on an old connection. */
  #agent: { readonly agent: ApiAgent; readonly certificate: ClientCertificate | undefined } | undefined;
  readonly #closing = new AbortController();

  constructor(server: ApiServer, credentials: CredentialSource, headers: OutgoingHttpHeaders) {
    this.server = server;
    this.#credentials = credentials;
    this.#headers = { 'user-agent': `kpctl/${version}`, ...headers };
  }

  /** The JSON of the answer. Throws a Failure (api-failures.ts), or what `signal` aborts with. */
  async json(request: ApiRequest): Promise<unknown> {
    return await this.#failing(request, async () => {
      const text = await this.#text(request);
      try {
        return JSON.parse(text) as unknown;
      } catch (error) {
        throw new Failure('API_ERROR', `the answer of ${this.server.url} to ${request.path} is not JSON`, {
          likely: 'the server of the kubeconfig is not an API server',
          cause: error,
        });
      }
    });
  }

  /** The text of the answer, whatever it is. Throws as {@link json}. */
  async text(request: ApiRequest): Promise<string> {
    return await this.#failing(request, async () => await this.#text(request));
  }

  /** An answer whose body goes on (a watch). The caller destroys it. */
  async stream(request: ApiRequest): Promise<IncomingMessage> {
    return await this.#failing(request, async () => {
      using answer = await this.#answered(request);
      return answer.value;
    });
  }

  /** A connection that the server has upgraded (101), on a socket of its own. An answer instead of that is a Failure whose cause is an {@link AnswerError}. */
  async upgrade(request: ApiRequest): Promise<Upgraded> {
    return await this.#upgraded(request, async (credential, signal) => {
      return await this.#send(request, credential, new ApiAgent(this.server, credential.certificate, false), signal);
    });
  }

  /** The same where a library makes the request (WebSocket): `open` resolves with what it made of the connection, or with the answer that refused it. */
  async upgradeBy<T extends object>(request: ApiRequest, open: (handshake: Handshake) => Promise<T | IncomingMessage>): Promise<T> {
    return await this.#upgraded(request, async (credential, signal) => {
      return await open({
        url: `http://${this.server.host}${this.server.basePath}${request.path}`,
        secure: this.server.url.startsWith('https:'),
        headers: this.#headersOf(credential, request.headers),
        agent: new ApiAgent(this.server, credential.certificate, false),
        signal,
      });
    });
  }

  /** Ends the connections that are kept for later. */
  dropIdle(): void {
    this.#agent?.agent.dropIdle();
  }

  /** Ends what is under way, and the kept connections. */
  close(): void {
    this.#closing.abort(new Failure('CLUSTER_CLOSED', `the connection to ${this.server.url} was closed`));
    this.#agent?.agent.destroy();
  }

  async #upgraded<T extends object>(
    request: ApiRequest,
    open: (credential: Credential, signal: AbortSignal) => Promise<T | IncomingMessage>,
  ): Promise<T> {
    return await this.#failing(request, async () => {
      using answer = await this.#authenticated<T | IncomingMessage>(request, open);
      if (isIncomingMessage(answer.value)) throw await this.#failureOf(answer.value, request, answer.signal);
      return answer.value;
    });
  }

  #headersOf({ authorization }: Credential, more: OutgoingHttpHeaders | undefined): OutgoingHttpHeaders {
    return {
      host: this.server.host,
      accept: 'application/json',
      ...this.#headers,
      ...(authorization !== undefined && { authorization }),
      ...more,
    };
  }

  #signal({ signal }: AbortOptions): AbortSignal {
    return signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
  }

  async #failing<T>(request: ApiRequest, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
      throw failureOfConnection(error, this.server.url, request.signal);
    }
  }

  async #text(request: ApiRequest): Promise<string> {
    using answer = await this.#answered(request);
    return await bodyOf(answer.value, answer.signal);
  }

  /** The answer, which is 2xx. */
  async #answered(request: ApiRequest): Promise<InTime<IncomingMessage>> {
    for (let tries = 1; ; tries++) {
      const answer = await this.#authenticated(request, async (credential, signal) => await this.#resent(request, credential, signal));
      const status = answer.value.statusCode ?? 0;
      if (status >= 200 && status < 300) return answer;
      using failed = answer;
      const pause = retryAfter(failed.value);
      if (pause === undefined || tries > MAX_BUSY_RETRIES) throw await this.#failureOf(answer.value, request, answer.signal);
      answer.value.destroy();
      await sleep(pause * 1000, undefined, { signal: this.#signal(request) });
    }
  }

  /** Sends with the current credential; once more with a renewed one when it is not accepted. A log-in may take its time. */
  async #authenticated<T>(request: ApiRequest, send: (credential: Credential, signal: AbortSignal) => Promise<T>): Promise<InTime<T>> {
    const signal = this.#signal(request);
    const credential = await this.#credentials.current({ signal });
    const answer = await inTime(signal, async (limited) => await send(credential, limited));
    if (!isIncomingMessage(answer.value) || answer.value.statusCode !== 401 || !this.#credentials.rejected(credential)) return answer;
    answer.value.destroy();
    answer[Symbol.dispose]();
    const renewed = await this.#credentials.current({ signal });
    return await inTime(signal, async (limited) => await send(renewed, limited));
  }

  /** Sends on a kept connection; again, on another one, if that was closed under us. */
  async #resent(request: ApiRequest, credential: Credential, signal: AbortSignal): Promise<IncomingMessage> {
    const agent = this.#agentFor(credential.certificate);
    for (let tries = 0; ; tries++) {
      const sent: { request?: ClientRequest } = {};
      try {
        const answer = await this.#send(request, credential, agent, signal, sent);
        if (!('head' in answer)) return answer;
        answer.socket.destroy();
        throw new Failure('API_ERROR', `the server ${this.server.url} upgraded a request that did not ask for it`);
      } catch (error) {
        const closed = ['ECONNRESET', 'EPIPE'].includes(systemCode(error) ?? '') && sent.request?.reusedSocket === true;
        // Every kept connection may have been closed at once (a restart of the server): drop them all.
        if (!closed || request.repeatable === false || tries > 0 || signal.aborted) throw error;
        agent.dropIdle();
      }
    }
  }

  #agentFor(certificate: ClientCertificate | undefined): ApiAgent {
    if (this.#agent === undefined || this.#agent.certificate !== certificate) {
      this.#agent?.agent.dropIdle();
      this.#agent = { agent: new ApiAgent(this.server, certificate, true), certificate };
    }
    return this.#agent.agent;
  }

  async #send(
    { method, path, headers, body, contentType = 'application/json' }: ApiRequest,
    credential: Credential,
    agent: ApiAgent,
    signal: AbortSignal,
    sent: { request?: ClientRequest } = {},
  ): Promise<IncomingMessage | Upgraded> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage | Upgraded>();
    // A request without a socket says nothing when it is aborted: not before its connection is made, or has failed.
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const request = httpRequest({
      agent,
      method,
      path: `${this.server.basePath}${path}`,
      signal,
      headers: this.#headersOf(credential, {
        ...(text !== undefined && { 'content-type': contentType, 'content-length': Buffer.byteLength(text) }),
        ...headers,
      }),
    });
    sent.request = request;
    request.on('error', (error) => reject(signal.aborted ? signal.reason : error));
    request.on('response', resolve);
    request.on('upgrade', (response, socket, head: Buffer) => resolve({ response, socket, head }));
    request.end(text);
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #failureOf(response: IncomingMessage, { intent }: ApiRequest, signal: AbortSignal): Promise<Failure> {
    return failureOfStatus(response.statusCode ?? 0, await bodyOf(response, signal), intent, this.server.url);
  }
}

/** A value, and the deadline that still runs for what belongs to it; disposing of it stops that. */
interface InTime<T> extends Disposable {
  readonly value: T;
  readonly signal: AbortSignal;
}

async function inTime<T>(signal: AbortSignal, work: (limited: AbortSignal) => Promise<T>): Promise<InTime<T>> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DOMException('no answer in time', 'TimeoutError')), ANSWER_MILLISECONDS);
  const limited = AbortSignal.any([signal, late.signal]);
  try {
    const value = await work(limited);
    return { value, signal: limited, [Symbol.dispose]: () => clearTimeout(timer) };
  } catch (error) {
    clearTimeout(timer);
    throw error;
  }
}

/** Seconds to wait before the same request may be sent again, where the server says so (API priority and fairness). */
function retryAfter(response: IncomingMessage): number | undefined {
  if (response.statusCode !== 429 && response.statusCode !== 503) return undefined;
  const seconds = Number(response.headers['retry-after']);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, MAX_RETRY_AFTER_SECONDS) : undefined;
}
