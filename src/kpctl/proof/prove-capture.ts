import { proveAnswerSchema } from '../../claims/messages.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import { ports } from '../../platform/ports.ts';
import { RequestError, type Session } from '../../tunnel/index.ts';
import type { LinkedPod } from '../links/pod-link.ts';
import type { Answer, Prober } from './prober.ts';

/** Whether a connection from outside of a pod arrives at its kpeering. */
export type Proof =
  | { readonly kind: 'proved'; readonly by: string }
  /** It does not: a prober that reaches the pod was refused, or answered by somebody else. */
  | { readonly kind: 'failed'; readonly by: string; readonly what: string }
  /** Nobody could tell: why, as a sentence. */
  | { readonly kind: 'unclear'; readonly why: string }
  /** There is nothing outside of the pod that could connect to it for us. */
  | { readonly kind: 'no-prober' }
  /** The sidecar is of a release that cannot be asked. */
  | { readonly kind: 'unsupported' };

export interface ProofRequest {
  readonly pod: LinkedPod;
  readonly address: string;
  readonly session: Session;
  /** In the order in which they are tried. A rejection ends the search. */
  readonly probers: AsyncIterable<Prober>;
  /** Of all of it. Default 3 s. */
  readonly milliseconds?: number;
}

const PROOF_MILLISECONDS = 3_000;
/** Of one connection: a second on any network on which claims make sense. */
const ASK_MILLISECONDS = 1_200;

/**
 * Proves that a pod's rules see its traffic: the sidecar is asked for a token, and a connection from outside to the port on which
 * nobody listens must be answered with it. Whoever is refused, or hears something else, is asked whether it reaches the sidecar's
 * health port, which no rule captures: only then is that a failure of the rules and not of the way there. Rejects only when `signal`
 * aborts.
 */
export async function proveCapture(request: ProofRequest, options: AbortOptions = {}): Promise<Proof> {
  const signal = deadline(request.milliseconds ?? PROOF_MILLISECONDS, options.signal);
  try {
    const { port, token } = proveAnswerSchema.parse(await request.session.request('prove', {}, { signal }));
    return await tryProbers(request, port, token, signal);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof RequestError && error.code === 'unknown-method') return { kind: 'unsupported' };
    return { kind: 'unclear', why: signal.aborted ? 'its kpeering did not answer in time' : `its kpeering says: ${messageOf(error)}` };
  }
}

async function tryProbers({ pod, address, probers }: ProofRequest, port: number, token: string, signal: AbortSignal): Promise<Proof> {
  let unclear: Proof = { kind: 'no-prober' };
  for await (const prober of probers) {
    if (prober.pod?.name === pod.name && prober.pod.namespace === pod.namespace) continue;
    const ask = async (to: number, path: string): Promise<Answer> =>
      await prober.ask({ pod, address, port: to, path }, { signal: deadline(ASK_MILLISECONDS, signal) });
    const answer = await ask(port, '/');
    if (answer.kind === 'unusable') continue;
    if (answer.kind === 'answered' && answer.text.includes(token)) return { kind: 'proved', by: prober.name };
    const what = answer.kind === 'answered' ? 'something else answered' : answer.message;
    if (answer.kind !== 'silent' && (await ask(ports.health, '/healthz')).kind === 'answered') {
      return { kind: 'failed', by: prober.name, what };
    }
    unclear = { kind: 'unclear', why: `${prober.name} cannot reach it, by a NetworkPolicy perhaps: ${what}` };
    if (signal.aborted) break;
  }
  return unclear;
}
