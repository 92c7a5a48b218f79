import type { CaptureProof } from '../../cluster/capture-proof.ts';
import type { Proof } from './prove-capture.ts';

/** The operator proves each pod anew every ten minutes: what is older is of an operator that is gone. */
const FRESH_MILLISECONDS = 900_000;

export interface OwnProofOptions {
  /** What the operator has found out about the pod, if anything. */
  readonly operators: CaptureProof | undefined;
  /** Whether another pod is connected already that can make the proof in two round trips. */
  readonly isCheap: boolean;
  /** Makes a proof of our own. */
  readonly prove: () => Promise<Proof>;
  /** Milliseconds since 1970. */
  readonly now?: number;
}

/**
 * A proof of our own, of this moment, where that is cheap; else the operator's fresh one, which saves a connection to some other pod. Where we
 * cannot tell, the operator's word counts, too.
 */
export async function proofWithOperator({ operators, isCheap, prove, now = Date.now() }: OwnProofOptions): Promise<Proof> {
  const word = operators !== undefined && now - operators.at < FRESH_MILLISECONDS ? operators : undefined;
  if (word?.status === 'True' && !isCheap) return { kind: 'proved', by: 'the operator' };
  const own = await prove();
  if (own.kind !== 'unclear' && own.kind !== 'no-prober') return own;
  if (word?.status === 'True') return { kind: 'proved', by: 'the operator' };
  if (word?.status === 'False') return { kind: 'failed', by: 'the operator', what: word.message ?? word.reason ?? 'it says no more' };
  return own;
}
