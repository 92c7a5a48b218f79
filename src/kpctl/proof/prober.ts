import type { Cluster } from '../../cluster/types.ts';
import { formatEndpoint } from '../../forwarder/dial.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import { OpenError, type Session, type TunnelStream } from '../../tunnel/index.ts';
import type { LinkedPod } from '../links/pod-link.ts';

/** What became of one HTTP request to a pod's own address, made from outside of that pod. */
export type Answer =
  | { readonly kind: 'answered'; readonly text: string }
  /** Somebody said no: no listener, or a reset before an answer. */
  | { readonly kind: 'refused'; readonly message: string }
  /** No answer: it may be the way there (a NetworkPolicy, a route), or the prober. */
  | { readonly kind: 'silent'; readonly message: string }
  /** This prober cannot be used, which says nothing about the pod. */
  | { readonly kind: 'unusable' };

/** Where a request is sent. */
export interface Question {
  readonly pod: LinkedPod;
  readonly address: string;
  readonly port: number;
  readonly path: string;
}

/** Something outside of the pod that can connect to it. */
export interface Prober {
  /** `pod web-2`, `the gateway`. */
  readonly name: string;
  /** Of a pod: it is not outside of itself. */
  readonly pod?: LinkedPod;
  ask(question: Question, options: AbortOptions): Promise<Answer>;
}

/** An answer is a line or two; what is longer is not ours. */
const MAX_ANSWER = 16 * 1024;

/** Connects from a pod with kpeering in it, by a tunnel that is up. */
export function podProber(name: string, pod: LinkedPod, session: Session): Prober {
  return {
    name,
    pod,
    ask: async ({ address, port, path }, options) => {
      const destination = { address, port };
      try {
        const stream = await session.open({ kind: 'dial', destination }, options);
        return await converse(stream, `GET ${path} HTTP/1.0\r\nHost: ${formatEndpoint(destination)}\r\n\r\n`, options);
      } catch (error) {
        const message = options.signal?.aborted === true ? 'no answer in time' : messageOf(error);
        const refusal = error instanceof OpenError ? error.errorClass : undefined;
        // A pod that dials nothing for laptops says nothing about another one.
        if (refusal === 'denied') return { kind: 'unusable' };
        return { kind: refusal === 'refused' ? 'refused' : 'silent', message };
      }
    },
  };
}

/** Lets the API server connect, where the user may `get` pods/proxy and the server can reach pods at all. */
export function apiServerProber(cluster: Pick<Cluster, 'getFromPod'>): Prober {
  return {
    name: 'the API server',
    ask: async ({ pod, port, path }, options) => {
      try {
        return { kind: 'answered', text: await cluster.getFromPod({ namespace: pod.namespace, pod: pod.name, port }, path, options) };
      } catch (error) {
        if (error instanceof Failure && /connection refused/.test(error.message)) return { kind: 'refused', message: 'connection refused' };
        return { kind: 'unusable' };
      }
    },
  };
}

/** Sends the request and collects the answer until the far end has said all, or enough. */
async function converse(stream: TunnelStream, request: string, { signal }: AbortOptions): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const chunks: Buffer[] = [];
  let length = 0;
  const answered = (): void => resolve({ kind: 'answered', text: Buffer.concat(chunks).toString('latin1') });
  const aborted = (): void => resolve({ kind: 'silent', message: 'connected, and no answer in time' });
  stream.attach({
    data: (chunk) => {
      chunks.push(chunk);
      length += chunk.length;
      stream.consumed(chunk.length);
      if (length > MAX_ANSWER) answered();
    },
    end: answered,
    reset: (reason) => {
      if (reason === 'session-lost') resolve({ kind: 'silent', message: 'the tunnel was lost' });
      else if (length > 0) answered();
      else resolve({ kind: 'refused', message: 'the connection was reset' });
    },
    drain: () => undefined,
  });
  stream.write(Buffer.from(request));
  signal?.addEventListener('abort', aborted, { once: true });
  try {
    return await promise;
  } finally {
    signal?.removeEventListener('abort', aborted);
    stream.reset();
  }
}
