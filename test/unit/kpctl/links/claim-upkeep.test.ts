import { EventEmitter, once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { claimTargetSchema, type ClaimTarget } from '../../../../src/claims/messages.ts';
import { ClaimUpkeep } from '../../../../src/kpctl/links/claim-upkeep.ts';
import type { LinkEvent } from '../../../../src/kpctl/links/link-event.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { RequestError } from '../../../../src/tunnel/index.ts';
import { FakeSession, type AnswerRequest } from './fake-session.ts';

const http: ClaimTarget = { protocol: 'tcp', port: 8080 };
const dns: ClaimTarget = { protocol: 'udp', port: 53 };
const db: ClaimTarget = { protocol: 'tcp', port: 5432, address: '10.96.0.7' };
const holder = { name: 'bob@build', since: '2026-11-21T09:00:00.000Z' };

function upkeep(answer: AnswerRequest = () => ({ again: false })) {
  const session = new FakeSession(answer);
  const events: LinkEvent[] = [];
  const arrivals = new EventEmitter();
  const closing = new AbortController();
  const at: { session: FakeSession | undefined } = { session };
  const claims = new ClaimUpkeep({
    pod: 'web-1',
    session: () => at.session,
    onEvent: (event) => {
      events.push(event);
      arrivals.emit(event.kind);
    },
    closing: closing.signal,
  });
  /** Timers of kpctl hold no process. */
  async function eventCame(kind: LinkEvent['kind']): Promise<void> {
    const alive = setInterval(() => undefined, 1_000);
    try {
      if (!events.some((event) => event.kind === kind)) await once(arrivals, kind);
    } finally {
      clearInterval(alive);
    }
  }
  return { session, events, closing, at, claims, eventCame };
}

test('claims name protocol, port and address, and are held until they are dropped', async (t) => {
  const { claims, session } = upkeep();
  for (const target of [http, dns, db]) await claims.claim(target, {});
  t.deepEqual(claims.held, [http, dns, db]);
  t.deepEqual(
    session.asked,
    [http, dns, db].map((target) => `claim ${JSON.stringify(target)}`),
  );
  await claims.drop(dns);
  t.deepEqual(claims.held, [http, db]);
  await claims.dropAll({});
  t.deepEqual(claims.held, []);
  t.is(session.asked.filter((line) => line.startsWith('release ')).length, 3);
});

test('after a loss nothing is held, and all is taken again on the next session', async (t) => {
  const { claims, events, at } = upkeep();
  await claims.claim(http, {});
  await claims.claim(db, {});
  claims.lost();
  at.session = undefined;
  t.deepEqual(claims.held, []);
  const next = new FakeSession(() => ({ again: true }));
  at.session = next;
  await claims.takeAll(next, 'claimed-again');
  t.deepEqual(claims.held, [http, db]);
  t.deepEqual(events, [
    { kind: 'claimed-again', target: http },
    { kind: 'claimed-again', target: db },
  ]);
});

test('a target that is added or dropped later is claimed or released once', async (t) => {
  const { claims, session, events } = upkeep();
  await claims.add(db);
  await claims.add(db);
  t.deepEqual(events, [{ kind: 'claimed-too', target: db }]);
  await claims.drop(db);
  t.deepEqual(session.asked, [`claim ${JSON.stringify(db)}`, `release ${JSON.stringify(db)}`]);
});

test('connections that stay with the app are told once, and their end', async (t) => {
  const { claims, events, eventCame } = upkeep(() => ({ again: false, staying: 3 }));
  await claims.claim(http, {});
  await eventCame('staying');
  claims.notified('staying-ended', http);
  claims.notified('staying-ended', http);
  await eventCame('staying-ended');
  await turn();
  t.deepEqual(events, [
    { kind: 'staying', target: http, connections: 3 },
    { kind: 'staying-ended', target: http },
  ]);
});

test('connections that end at once are not told, also when the notice comes in the same read as the answer', async (t) => {
  const { claims, session, events, eventCame } = upkeep();
  session.answer = (_method, parameters) => {
    if (claimTargetSchema.parse(parameters).protocol === 'tcp') return { again: false, staying: 2 };
    claims.notified('staying-ended', dns);
    return { again: false, staying: 1 };
  };
  await claims.claim(dns, {});
  await claims.claim(http, {});
  await eventCame('staying');
  t.deepEqual(events, [{ kind: 'staying', target: http, connections: 2 }]);
});

test('a notice of what was never told, or that is not understood, is passed over', async (t) => {
  const { claims, events } = upkeep();
  await claims.claim(http, {});
  claims.notified('staying-ended', http);
  claims.notified('staying-ended', { port: 'http' });
  claims.notified('something-new', http);
  await turn();
  t.deepEqual(events, []);
});

test('connections that ended while the tunnel was lost are told to have ended', async (t) => {
  const { claims, events, at, eventCame } = upkeep(() => ({ again: false, staying: 2 }));
  await claims.claim(http, {});
  await eventCame('staying');
  claims.lost();
  const next = new FakeSession(() => ({ again: true }));
  at.session = next;
  await claims.takeAll(next, 'claimed-again');
  t.deepEqual(
    events.map(({ kind }) => kind),
    ['staying', 'claimed-again', 'staying-ended'],
  );
});

test('a first claim that is refused is a Failure, and is not asked for again', async (t) => {
  const { claims, session } = upkeep(() => {
    throw new RequestError('held', 'held', { details: holder });
  });
  await t.throwsAsync(claims.claim(http, {}), { instanceOf: Failure, code: 'PORT_HELD' });
  await claims.takeAll(session, 'claimed-again');
  t.is(session.asked.length, 1);
});

test('one that somebody took meanwhile is told, and taken when it is free', async (t) => {
  const { claims, session, events, closing } = upkeep();
  claims.want(http);
  let tries = 0;
  const free = Promise.withResolvers<void>();
  session.answer = () => {
    tries += 1;
    if (tries < 3) throw new RequestError('held', 'held', { details: holder });
    free.resolve();
    return { again: false };
  };
  await claims.takeAll(session, 'claimed-again');
  t.deepEqual(events, [{ kind: 'claim-taken', target: http, holder }]);
  await free.promise;
  await turn();
  t.deepEqual(events.at(-1), { kind: 'claimed-again', target: http });
  t.deepEqual(claims.held, [http]);
  closing.abort();
});

test('one that was waited for and is then refused for another reason is told, and not asked for again', async (t) => {
  const { claims, session, events, eventCame } = upkeep();
  claims.want(http);
  session.answer = () => {
    const first = session.asked.length === 1;
    throw first ? new RequestError('held', 'held', { details: holder }) : new RequestError('capture-failed', 'no listener');
  };
  await claims.takeAll(session, 'claimed-again');
  await eventCame('claim-failed');
  t.deepEqual(events, [
    { kind: 'claim-taken', target: http, holder },
    { kind: 'claim-failed', target: http, cause: 'no listener' },
  ]);
  t.is(session.asked.length, 2);
});

test('one that the rules of a new pod do not capture says how to add it', async (t) => {
  const { claims, session, events } = upkeep(() => {
    throw new RequestError('port-not-captured', 'no', { details: { mode: 'tproxy', tcp: ['80'], udp: [], outbound: [] } });
  });
  claims.want(http);
  await claims.takeAll(session, 'joined');
  const [event] = events;
  t.is(event?.kind, 'claim-failed');
  t.regex(event?.kind === 'claim-failed' ? event.cause : '', /TCP 80.*KPEERING_INBOUND_PORTS.*\[PORT_NOT_CAPTURED\]$/);
});
