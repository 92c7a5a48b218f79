import test from 'ava';
import { ClaimTable, type ClaimChange, type ClaimSession } from '../../../src/claims/index.ts';
import type { ClaimTarget } from '../../../src/claims/messages.ts';
import { RequestError, type SessionEnd } from '../../../src/tunnel/index.ts';

const graceMilliseconds = 60;

function session(id: string, name = 'alice@mbp', user: string | undefined = 'alice'): ClaimSession {
  return {
    id,
    peer: { role: 'laptop', software: '0.1.0', name, ...(user === undefined ? {} : { user }) },
    open: async () => Promise.reject(new Error('this test opens nothing')),
    openAssociation: () => {
      throw new Error('this test opens nothing');
    },
    notify: () => undefined,
    ended: new Promise(() => undefined),
  };
}

function tcp(port: number): ClaimTarget {
  return { protocol: 'tcp', port };
}

function lost(millisecondsAgo = 0): SessionEnd {
  return { kind: 'lost', cause: new Error('gone'), lastHeard: performance.now() - millisecondsAgo };
}

function table(): { table: ClaimTable; changes: ClaimChange['change'][] } {
  const changes: ClaimChange['change'][] = [];
  return { table: new ClaimTable({ graceMilliseconds, onChange: ({ change }) => changes.push(change) }), changes };
}

test('an unclaimed port is the app’s', (t) => {
  t.is(table().table.decide(tcp(80)).kind, 'app');
});

test('a claim decides for its port only', (t) => {
  const { table: claims } = table();
  const alice = session('a');
  t.deepEqual(claims.claim(alice, tcp(80)), { again: false });
  const decision = claims.decide(tcp(80));
  t.is(decision.kind === 'session' ? decision.tenure.session : undefined, alice);
  t.is(claims.decide(tcp(81)).kind, 'app');
});

test('claiming again what one holds is fine, and keeps the time since when', (t) => {
  const { table: claims } = table();
  const alice = session('a');
  claims.claim(alice, tcp(80));
  const { since } = claims.list().claims[0]?.holder ?? {};
  t.deepEqual(claims.claim(alice, tcp(80)), { again: true });
  t.deepEqual(claims.claim(session('a'), tcp(80)), { again: true });
  t.is(claims.list().claims[0]?.holder.since, since);
});

test('held: the error has the holder, without a user when none is known', (t) => {
  const { table: claims } = table();
  claims.claim(session('a', 'alice@mbp', ''), tcp(80));
  const error = t.throws(() => claims.claim(session('b'), tcp(80)), { instanceOf: RequestError });
  t.is(error.code, 'held');
  t.like(error.details, { name: 'alice@mbp' });
});

for (const kind of ['goodbye', 'closed'] as const) {
  test(`${kind} ends all claims of the session, and of no other`, (t) => {
    const { table: claims } = table();
    const [alice, bob] = [session('a'), session('b', 'bob@pc')];
    claims.claim(alice, tcp(80));
    claims.claim(alice, tcp(81));
    claims.claim(bob, tcp(82));
    claims.sessionEnded(alice, { kind });
    t.deepEqual(
      claims.list().claims.map(({ port }) => port),
      [82],
    );
  });
}

test('lost: the grace counts from the last frame heard', async (t) => {
  const { table: claims, changes } = table();
  const [alice, bob] = [session('a'), session('b')];
  claims.claim(alice, tcp(80));
  claims.claim(bob, tcp(81));
  claims.sessionEnded(bob, lost(graceMilliseconds + 1));
  t.is(claims.decide(tcp(81)).kind, 'app');
  const before = performance.now();
  claims.sessionEnded(alice, lost(graceMilliseconds / 2));
  const decision = claims.decide(tcp(80));
  if (decision.kind !== 'wait') return t.fail();
  t.is(claims.list().claims[0]?.state, 'grace');
  await decision.changed;
  t.true(performance.now() - before < graceMilliseconds);
  t.is(claims.decide(tcp(80)).kind, 'app');
  t.deepEqual(changes, ['claimed', 'claimed', 'released', 'grace', 'released']);
});

test('the same session claims again within the grace: waiting flows are told', async (t) => {
  const { table: claims, changes } = table();
  claims.claim(session('a'), tcp(80));
  const lostSession = session('b');
  claims.claim(lostSession, tcp(81));
  claims.sessionEnded(lostSession, lost());
  const decision = claims.decide(tcp(81));
  const again = session('b');
  t.deepEqual(claims.claim(again, tcp(81)), { again: true });
  if (decision.kind !== 'wait') return t.fail();
  await decision.changed;
  const now = claims.decide(tcp(81));
  t.is(now.kind === 'session' ? now.tenure.session : undefined, again);
  // The end of the old transport says nothing about the new one.
  claims.sessionEnded(lostSession, lost());
  t.is(claims.decide(tcp(81)).kind, 'session');
  t.deepEqual(changes.slice(-1), ['claimed-again']);
  claims.clear();
});

test('the timer of a grace that is over does not end the claim that followed', async (t) => {
  const { table: claims } = table();
  const first = session('a');
  claims.claim(first, tcp(80));
  claims.sessionEnded(first, lost());
  claims.claim(session('a'), tcp(80));
  await new Promise((resolve) => setTimeout(resolve, graceMilliseconds * 2));
  t.is(claims.decide(tcp(80)).kind, 'session');
});

test('a claim in grace: only the same name and user may take it over', (t) => {
  const { table: claims } = table();
  const first = session('a');
  claims.claim(first, tcp(80));
  claims.sessionEnded(first, lost());
  t.throws(() => claims.claim(session('b', 'bob@pc'), tcp(80)), { message: /its laptop is away/u });
  t.throws(() => claims.claim(session('b', 'alice@mbp', 'mallory'), tcp(80)), { instanceOf: RequestError });
  t.throws(() => claims.claim(session('b', 'alice@mbp', ''), tcp(80)), { instanceOf: RequestError });
  t.deepEqual(claims.claim(session('b'), tcp(80)), { again: false });
  t.is(claims.list().claims[0]?.state, 'active');
});

test('a release in grace, by the session that is back, ends the claim', (t) => {
  const { table: claims } = table();
  const first = session('a');
  claims.claim(first, tcp(80));
  claims.sessionEnded(first, lost());
  claims.release(session('b'), tcp(80));
  t.is(claims.decide(tcp(80)).kind, 'wait');
  claims.release(session('a'), tcp(80));
  t.is(claims.decide(tcp(80)).kind, 'app');
});

test('releasing what is not held does nothing', (t) => {
  const { table: claims } = table();
  claims.claim(session('a'), tcp(80));
  claims.release(session('b'), tcp(80));
  claims.release(session('b'), tcp(81));
  t.is(claims.decide(tcp(80)).kind, 'session');
});

test('clear lets waiting flows go', async (t) => {
  const { table: claims } = table();
  const first = session('a');
  claims.claim(first, tcp(80));
  claims.sessionEnded(first, lost());
  const decision = claims.decide(tcp(80));
  claims.clear();
  if (decision.kind !== 'wait') return t.fail();
  await decision.changed;
  t.is(claims.decide(tcp(80)).kind, 'app');
});
