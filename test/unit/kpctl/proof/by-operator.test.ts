import test from 'ava';
import type { CaptureProof } from '../../../../src/cluster/capture-proof.ts';
import { proofWithOperator } from '../../../../src/kpctl/proof/by-operator.ts';
import type { Proof } from '../../../../src/kpctl/proof/prove-capture.ts';

const now = Date.parse('2026-11-21T20:00:00Z');
const byOperator = { kind: 'proved', by: 'the operator' } as const;
const own = { kind: 'proved', by: 'pod web-2' } as const;

function word(status: CaptureProof['status'], minutes = 1): CaptureProof {
  return { status, reason: 'Reason', message: 'refused', at: now - minutes * 60_000 };
}

async function proof(operators: CaptureProof | undefined, isCheap: boolean, answer: Proof): Promise<Proof> {
  return await proofWithOperator({ operators, isCheap, prove: () => Promise.resolve(answer), now });
}

test("where a proof of our own takes a connection to some other pod, the operator's fresh one does", async (t) => {
  t.deepEqual(await proof(word('True'), false, own), byOperator);
  t.deepEqual(await proof(word('True', 16), false, own), own);
  t.deepEqual(await proof(undefined, false, own), own);
});

test('where it is cheap we make it ourselves, and believe that', async (t) => {
  t.deepEqual(await proof(word('True'), true, own), own);
  t.deepEqual(await proof(word('True'), true, { kind: 'failed', by: 'pod web-2', what: 'refused' }), {
    kind: 'failed',
    by: 'pod web-2',
    what: 'refused',
  });
  t.deepEqual(await proof(word('False'), false, own), own);
});

test("where we cannot tell, the operator's word counts", async (t) => {
  for (const unclear of [{ kind: 'no-prober' }, { kind: 'unclear', why: 'silence' }] as const) {
    t.deepEqual(await proof(word('True'), true, unclear), byOperator);
    t.deepEqual(await proof(word('False'), false, unclear), { kind: 'failed', by: 'the operator', what: 'refused' });
    t.deepEqual(await proof(word('Unknown'), false, unclear), unclear);
    t.deepEqual(await proof(undefined, false, unclear), unclear);
  }
});
