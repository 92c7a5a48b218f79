import { mock } from 'node:test';
import test from 'ava';
import { ClaimTable, type ClaimSession } from '../../../src/claims/index.ts';
import { StayingConnections } from '../../../src/claims/staying.ts';
import { silentLogger } from '../../../src/platform/log.ts';

/** Longer than between two looks, in milliseconds. */
const POLL = 2000;
const FOR_EVER = 60 * POLL;

test.before(() => mock.timers.enable({ apis: ['setInterval'] }));
test.after.always(() => mock.timers.reset());

const target = { protocol: 'tcp', port: 80 } as const;

/** A claimed port, and the connections that the app has. */
function scene() {
  const told: unknown[] = [];
  const asked = { times: 0 };
  const session: ClaimSession = {
    id: 'a',
    peer: { role: 'laptop', software: '0', name: 'alice@mbp' },
    open: async () => Promise.reject(new Error('this test opens nothing')),
    openAssociation: () => {
      throw new Error('this test opens nothing');
    },
    notify: (method, parameters) => told.push([method, parameters]),
    ended: new Promise(() => undefined),
  };
  const table = new ClaimTable();
  table.claim(session, target);
  const connections = new Set<unknown>();
  const staying = new StayingConnections({
    table,
    connections: () => {
      asked.times += 1;
      return connections;
    },
    log: silentLogger,
    pollMilliseconds: POLL,
  });
  return { told, asked, table, session, connections, staying };
}

test.serial('where none stay, nothing is watched', (t) => {
  const { asked, staying, told } = scene();
  t.is(staying.begin(target), 0);
  mock.timers.tick(FOR_EVER);
  t.is(asked.times, 1);
  t.deepEqual(told, []);
});

test.serial('later connections of the app do not count; the holder is told once when the last of the first has ended', (t) => {
  const { asked, staying, told, connections } = scene();
  connections.add('first').add('second');
  t.is(staying.begin(target), 2);
  connections.add('later').delete('first');
  mock.timers.tick(2 * POLL);
  t.is(staying.begin(target), 1);
  t.deepEqual(told, []);
  connections.delete('second');
  mock.timers.tick(POLL);
  t.deepEqual(told, [['staying-ended', target]]);
  const before = asked.times;
  mock.timers.tick(FOR_EVER);
  t.is(asked.times, before);
});

test.serial('in grace nobody is told; whoever comes back is', (t) => {
  const { staying, told, table, session, connections } = scene();
  connections.add('first');
  staying.begin(target);
  table.sessionEnded(session, { kind: 'lost', cause: new Error('x'), lastHeard: performance.now() });
  mock.timers.tick(POLL);
  connections.clear();
  mock.timers.tick(POLL);
  t.deepEqual(told, []);
  table.claim(session, target);
  mock.timers.tick(POLL);
  t.is(staying.begin(target), 0);
  staying.end(target);
  table.clear();
});

test.serial('the end of the claim is the end of the watch', (t) => {
  const { asked, staying, connections } = scene();
  connections.add('first');
  staying.begin(target);
  staying.end(target);
  const before = asked.times;
  mock.timers.tick(FOR_EVER);
  t.is(asked.times, before);
});
