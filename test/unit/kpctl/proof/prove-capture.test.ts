import test, { type ExecutionContext } from 'ava';
import { apiServerProber, podProber, type Answer, type Prober, type Question } from '../../../../src/kpctl/proof/prober.ts';
import { proveCapture, type Proof } from '../../../../src/kpctl/proof/prove-capture.ts';
import { tell } from '../../../../src/kpctl/proof/before-claims.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { ports } from '../../../../src/platform/ports.ts';
import { OpenError, RequestError, type StreamSink, type TunnelStream } from '../../../../src/tunnel/index.ts';
import { FakeSession } from '../links/fake-session.ts';

const pod = { namespace: 'shop', name: 'web-1' };
const token = 'f'.repeat(32);
const proves = (): FakeSession => new FakeSession(() => ({ port: ports.proof, token }));
const answered = (text: string): Answer => ({ kind: 'answered', text });
const refused: Answer = { kind: 'refused', message: 'connection refused' };
const silent: Answer = { kind: 'silent', message: 'no answer in time' };

/** The timers of `AbortSignal.timeout` hold no process, and nothing else is under way here. */
function stayAlive(t: ExecutionContext): void {
  const timer = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(timer));
}

/** A prober that finds these answers at the proof's port and at the health port. */
function prober(name: string, proof: Answer, health: Answer = answered('ok'), asked: Question[] = []): Prober {
  return {
    name,
    ask: (question) => {
      asked.push(question);
      return Promise.resolve(question.port === ports.proof ? proof : health);
    },
  };
}

async function* each(probers: readonly Prober[]): AsyncGenerator<Prober> {
  yield* probers;
}

async function prove(probers: readonly Prober[], session: FakeSession = proves()): Promise<Proof> {
  return await proveCapture({ pod, address: '10.244.0.7', session, probers: each(probers) });
}

test('the token from outside is the proof, and nobody else is asked', async (t) => {
  const asked: Question[] = [];
  const proof = await prove([prober('pod web-2', answered(`HTTP/1.0 200 OK\r\n\r\n${token}\n`), refused, asked), prober('b', refused)]);
  t.deepEqual(proof, { kind: 'proved', by: 'pod web-2' });
  t.deepEqual(asked, [{ pod, address: '10.244.0.7', port: ports.proof, path: '/' }]);
});

test('a refusal, or another answer, is a failure where the prober reaches the pod', async (t) => {
  t.deepEqual(await prove([prober('pod web-2', refused)]), { kind: 'failed', by: 'pod web-2', what: 'connection refused' });
  t.deepEqual(await prove([prober('pod web-2', answered('hello'))]), { kind: 'failed', by: 'pod web-2', what: 'something else answered' });
});

test('a refusal by a prober that reaches nothing of the pod, and silence, are unclear; the next one may know', async (t) => {
  t.deepEqual(await prove([prober('a', refused, refused)]), {
    kind: 'unclear',
    why: 'a cannot reach it, by a NetworkPolicy perhaps: connection refused',
  });
  t.deepEqual(await prove([prober('a', silent)]), {
    kind: 'unclear',
    why: 'a cannot reach it, by a NetworkPolicy perhaps: no answer in time',
  });
  t.deepEqual(await prove([prober('a', silent), prober('b', answered(token))]), { kind: 'proved', by: 'b' });
});

test('a pod does not prove itself, and what cannot be used says nothing', async (t) => {
  t.deepEqual(await prove([{ ...prober('itself', answered(token)), pod }, prober('api', { kind: 'unusable' })]), { kind: 'no-prober' });
  t.deepEqual(await prove([]), { kind: 'no-prober' });
});

test('a sidecar that cannot be asked: an old one, or one that does not answer', async (t) => {
  const old = new FakeSession(() => {
    throw new RequestError('unknown-method');
  });
  t.deepEqual(await prove([prober('a', refused)], old), { kind: 'unsupported' });
  const busy = new FakeSession(() => {
    throw new RequestError('busy', 'too many requests');
  });
  t.deepEqual(await prove([prober('a', refused)], busy), { kind: 'unclear', why: 'its kpeering says: too many requests' });
});

test('all of it is bounded, and ends with the user’s Ctrl-C', async (t) => {
  stayAlive(t);
  const stuck: Prober = {
    name: 'a',
    ask: async (_question, { signal }) => {
      await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
      return silent;
    },
  };
  const request = { pod, address: '10.244.0.7', session: proves(), probers: each([stuck, stuck, stuck]), milliseconds: 50 };
  t.is((await proveCapture(request)).kind, 'unclear');
  const interrupted = AbortSignal.abort(new Error('interrupted'));
  await t.throwsAsync(proveCapture({ ...request, probers: each([stuck]) }, { signal: interrupted }), { message: 'interrupted' });
});

/** A stream whose far end does what the test says once it has the request. */
function stream(onRequest: (sink: StreamSink, request: string) => void, sent: string[] = []): TunnelStream {
  let sink: StreamSink | undefined;
  return {
    id: 1,
    attach: (attached) => {
      sink = attached;
    },
    write: (chunk) => {
      sent.push(chunk.toString());
      const receiver = sink;
      if (receiver !== undefined) queueMicrotask(() => onRequest(receiver, chunk.toString()));
      return true;
    },
    end: () => undefined,
    reset: () => void sent.push('reset'),
    consumed: () => undefined,
  };
}

const question: Question = { pod, address: 'fd00::7', port: ports.proof, path: '/' };

test('from another pod: an HTTP request by its tunnel, and the whole answer', async (t) => {
  const sent: string[] = [];
  const session = new FakeSession(
    () => ({}),
    (request) => {
      t.deepEqual(request, { kind: 'dial', destination: { address: 'fd00::7', port: ports.proof } });
      return stream((sink) => {
        sink.data(Buffer.from('HTTP/1.0 200 OK\r\n\r\n'));
        sink.data(Buffer.from(token));
        sink.end();
      }, sent);
    },
  );
  const answer = await podProber('pod web-2', { ...pod, name: 'web-2' }, session).ask(question, {});
  t.deepEqual(answer, answered(`HTTP/1.0 200 OK\r\n\r\n${token}`));
  t.deepEqual(sent, [`GET / HTTP/1.0\r\nHost: [fd00::7]:${ports.proof}\r\n\r\n`, 'reset']);
});

test('from another pod: refused, reset, unreachable, silent, lost', async (t) => {
  stayAlive(t);
  const ask = async (open: () => TunnelStream, signal?: AbortSignal): Promise<Answer> =>
    await podProber('pod web-2', pod, new FakeSession(() => ({}), open)).ask(question, signal === undefined ? {} : { signal });
  const dialFails = (error: OpenError) => () => {
    throw error;
  };
  t.deepEqual(await ask(dialFails(new OpenError('refused', 'ECONNREFUSED'))), { kind: 'refused', message: 'ECONNREFUSED' });
  t.deepEqual(await ask(dialFails(new OpenError('unreachable', 'EHOSTUNREACH'))), { kind: 'silent', message: 'EHOSTUNREACH' });
  t.deepEqual(await ask(() => stream((sink) => sink.reset('peer'))), { kind: 'refused', message: 'the connection was reset' });
  t.is((await ask(() => stream((sink) => sink.reset('session-lost')))).kind, 'silent');
  t.is((await ask(() => stream(() => undefined), AbortSignal.timeout(20))).kind, 'silent');
});

test('through the API server: its answer, a refusal in its words, and everything else says nothing of the pod', async (t) => {
  const ask = async (answer: () => string): Promise<Answer> =>
    await apiServerProber({ getFromPod: async () => await Promise.resolve().then(answer) }).ask(question, {});
  const fails = (code: string, message: string) => (): never => {
    throw new Failure(code, message);
  };
  t.deepEqual(await ask(() => token), answered(token));
  t.is((await ask(fails('API_ERROR', '503: dial tcp 10.1.1.1:15307: connect: connection refused'))).kind, 'refused');
  t.deepEqual(await ask(fails('API_ERROR', '503: context deadline exceeded')), { kind: 'unusable' });
  t.deepEqual(await ask(fails('API_FORBIDDEN', 'cannot get pods/proxy')), { kind: 'unusable' });
});

function told(...proofs: Proof[]): string[] {
  const lines: string[] = [];
  tell(
    proofs.map((proof, index) => [{ ...pod, name: `web-${index + 1}` }, proof] as const),
    { progress: (line) => void lines.push(line), warn: (line) => void lines.push(`warning: ${line}`) },
  );
  return lines;
}

test('what is certain ends the start, what is not is one line', (t) => {
  t.deepEqual(told({ kind: 'proved', by: 'pod web-2' }, { kind: 'unsupported' }), []);
  t.deepEqual(told({ kind: 'no-prober' }, { kind: 'no-prober' }), [
    'the capture is not proved from outside: no second pod or gateway to connect from',
  ]);
  t.deepEqual(told({ kind: 'proved', by: 'b' }, { kind: 'unclear', why: 'pod web-1 cannot reach it' }), [
    'warning: the capture of pod web-2 could not be proved: pod web-1 cannot reach it',
  ]);
  const error = t.throws(() => told({ kind: 'unclear', why: 'x' }, { kind: 'failed', by: 'pod web-1', what: 'connection refused' }), {
    instanceOf: Failure,
  });
  t.is(error.code, 'CAPTURE_NOT_PROVED');
  t.regex(error.format(), /^a connection from pod web-1 to pod web-2 does not arrive.*Cilium.*logs web-2 -c kpeering-init"; --no-proof/);
});
