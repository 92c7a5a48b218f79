import test from 'ava';
import type { Answer, Question } from '../../../../src/operator/proof/ask.ts';
import { provePod, type ProofResult } from '../../../../src/operator/proof/prove-pod.ts';

const token = 'f00dfacef00dface';
const health: Answer = { kind: 'answered', status: 200, text: JSON.stringify({ port: 15307, token }) };
const refused: Answer = { kind: 'refused', message: 'connection refused' };
const silent: Answer = { kind: 'silent', message: 'no answer in time' };

/** The proof of a pod that answers so on the health port, and so on that of the proof. */
async function proof(prove: Answer, captured: Answer, addresses = ['10.244.0.7']): Promise<ProofResult & { asked: string[] }> {
  const asked: string[] = [];
  const ask = async ({ address, port, path }: Question): Promise<Answer> => {
    asked.push(`${address} ${port} ${path}`);
    return port === 15307 ? captured : prove;
  };
  return { ...(await provePod(addresses, ask, new AbortController().signal)), asked };
}

test('the token from a port on which nobody listens proves the capture', async (t) => {
  const { status, asked } = await proof(health, { kind: 'answered', status: 200, text: `${token}\n` });
  t.is(status, 'True');
  t.deepEqual(asked, ['10.244.0.7 15320 /prove', '10.244.0.7 15307 /']);
});

test('a refusal from a pod whose health port answers is a failure of the rules', async (t) => {
  t.like(await proof(health, refused), { status: 'False', reason: 'NotCaptured' });
});

test('somebody else who answers on that port is one, too', async (t) => {
  t.like(await proof(health, { kind: 'answered', status: 200, text: 'welcome' }), { status: 'False', reason: 'NotCaptured' });
});

test('a pod that is not reached at all tells nothing: a NetworkPolicy, or a route', async (t) => {
  t.like(await proof(silent, silent), { status: 'Unknown', reason: 'Unreachable' });
  t.like(await proof(refused, refused), { status: 'Unknown', reason: 'Unreachable' });
});

test('silence on the port of the proof alone tells nothing either', async (t) => {
  t.like(await proof(health, silent), { status: 'Unknown', reason: 'NoAnswer' });
});

test('a sidecar that cannot open its listener does not capture', async (t) => {
  const text = JSON.stringify({ error: 'capture-failed', message: 'the sidecar lacks the capability NET_RAW' });
  const result = await proof({ kind: 'answered', status: 503, text }, refused);
  t.like(result, { status: 'False', reason: 'ListenerFailed' });
  t.true(result.message.includes('NET_RAW'));
});

test('a pod that is about to end is not blamed', async (t) => {
  const text = JSON.stringify({ error: 'draining', message: 'the pod is about to end' });
  t.like(await proof({ kind: 'answered', status: 503, text }, refused), { status: 'Unknown', reason: 'Draining' });
});

test('a sidecar of another release, and a server of another program, tell nothing', async (t) => {
  for (const [status, text] of [
    [404, 'there are /healthz'],
    [200, 'ok'],
    [0, ''],
  ] as const) {
    t.like(await proof({ kind: 'answered', status, text }, refused), { status: 'Unknown', reason: 'Unsupported' });
  }
});

test('the second address is tried where the first does not tell', async (t) => {
  const ask = async ({ address, port }: Question): Promise<Answer> => {
    if (address === '10.244.0.7') return silent;
    return port === 15307 ? { kind: 'answered', status: 200, text: token } : health;
  };
  t.is((await provePod(['10.244.0.7', 'fd00::7'], ask, new AbortController().signal)).status, 'True');
});

test('what a pod says of itself is told only in part, however long it is', async (t) => {
  const text = JSON.stringify({ error: 'capture-failed', message: 'm'.repeat(16_000) });
  const { reason, message } = await proof({ kind: 'answered', status: 503, text }, refused);
  t.is(reason, 'ListenerFailed');
  t.true(message.length < 400);
});
