import { z } from 'zod';
import { proveAnswerSchema } from '../../claims/messages.ts';
import { deadline } from '../../platform/abort.ts';
import { ports } from '../../platform/ports.ts';
import type { Answer, Ask } from './ask.ts';

/** Why a proof came out as it did: the condition's reason. */
export type ProofReason =
  | 'Proved'
  /** A connection from outside does not arrive at the pod's kpeering. */
  | 'NotCaptured'
  /** The sidecar cannot open the listener that captured connections would come to. */
  | 'ListenerFailed'
  /** The operator does not reach the pod at all. */
  | 'Unreachable'
  /** It reaches the health port, and the port of the proof says nothing. */
  | 'NoAnswer'
  /** The sidecar is of a release that cannot be asked. */
  | 'Unsupported'
  /** The pod is about to end. */
  | 'Draining';

/** A pod's proof, as its condition tells it. */
export interface ProofResult {
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: ProofReason;
  readonly message: string;
}

const ASK_MILLISECONDS = 2_000;
/** Characters. */
const MOST_WORDS = 300;
const refusalSchema = z.object({ error: z.string(), message: z.string() });

/**
 * Proves that a pod's rules see what comes from outside: its kpeering is asked, on the health port that no rule captures, for a token; and a
 * connection to the port on which nobody listens has to be answered with it. The pod's addresses are tried until one of them tells.
 * Rejects only when `signal` aborts.
 */
export async function provePod(addresses: readonly string[], ask: Ask, signal: AbortSignal): Promise<ProofResult> {
  let unclear: ProofResult = { status: 'Unknown', reason: 'Unreachable', message: 'the pod has no address' };
  for (const address of addresses) {
    const result = await proveAddress(address, ask, signal);
    signal.throwIfAborted();
    if (result.status !== 'Unknown') return result;
    unclear = result;
  }
  return unclear;
}

async function proveAddress(address: string, ask: Ask, signal: AbortSignal): Promise<ProofResult> {
  const at = async (port: number, path: string): Promise<Answer> =>
    await ask({ address, port, path }, { signal: deadline(ASK_MILLISECONDS, signal) });
  const asked = await at(ports.health, '/prove');
  if (asked.kind !== 'answered') {
    return unknown('Unreachable', `the operator does not reach its port ${ports.health}, by a NetworkPolicy perhaps: ${asked.message}`);
  }
  if (asked.status !== 200) return refusal(asked.status, asked.text);
  const parsed = proveAnswerSchema.safeParse(jsonOf(asked.text));
  if (!parsed.success) return unknown('Unsupported', `something else than kpeering answers on port ${ports.health}`);
  const { port, token } = parsed.data;
  const answer = await at(port, '/');
  if (answer.kind === 'silent') {
    return unknown(
      'NoAnswer',
      `port ${port} says nothing, by a NetworkPolicy that lets only other ports through perhaps: ${answer.message}`,
    );
  }
  if (answer.kind === 'answered' && answer.text.includes(token)) {
    return { status: 'True', reason: 'Proved', message: 'a connection from the operator was captured' };
  }
  const what = answer.kind === 'answered' ? 'something else answered' : answer.message;
  return {
    status: 'False',
    reason: 'NotCaptured',
    message: `a connection from the operator does not arrive at its kpeering: ${what}. Its rules are not in place, or something goes around them or comes first (a service mesh, a CNI without netfilter, a NetworkPolicy that rejects port ${port})`,
  };
}

function refusal(status: number, text: string): ProofResult {
  const parsed = refusalSchema.safeParse(jsonOf(text));
  if (status !== 503 || !parsed.success)
    return unknown('Unsupported', 'its kpeering cannot be asked: it is of another release than the operator');
  const { error } = parsed.data;
  // The pod's own words, which go into a condition and an Event.
  const message = parsed.data.message.slice(0, MOST_WORDS);
  if (error === 'draining') return unknown('Draining', message);
  return { status: 'False', reason: 'ListenerFailed', message: `its kpeering cannot take captured connections: ${message}` };
}

function unknown(reason: ProofReason, message: string): ProofResult {
  return { status: 'Unknown', reason, message };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
