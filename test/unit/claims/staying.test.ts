import test from 'ava';
import { ClaimTable, type ClaimSession } from '../../../src/claims/index.ts';
import { StayingConnections } from '../../../src/claims/staying.ts';
import { silentLogger } from '../../../src/platform/log.ts';

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
    pollMilliseconds: 5,
  });
  return { told, asked, table, session, connections, staying };
}

/** Until the watch has looked `times` more. */
async function looked(asked: { readonly times: number }, times: number): Promise<void> {
  const until = asked.times + times;
  while (asked.times < until) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('where none stay, nothing is watched', async (t) => {
  const { asked, staying, told } = scene();
  t.is(staying.begin(target), 0);
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.is(asked.times, 1);
  t.deepEqual(told, []);
});

test('later connections of the app do not count; the holder is told once when the last of the first has ended', async (t) => {
  const { asked, staying, told, connections } = scene();
  connections.add('first').add('second');
  t.is(staying.begin(target), 2);
  connections.add('later').delete('first');
  await looked(asked, 2);
  t.is(staying.begin(target), 1);
  t.deepEqual(told, []);
  connections.delete('second');
  while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  t.deepEqual(told, [['staying-ended', target]]);
  const before = asked.times;
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.is(asked.times, before);
});

test('in grace nobody is told; whoever comes back is', async (t) => {
  const { asked, staying, told, table, session, connections } = scene();
  connections.add('first');
  staying.begin(target);
  table.sessionEnded(session, { kind: 'lost', cause: new Error('x'), lastHeard: performance.now() });
  await looked(asked, 1);
  connections.clear();
  await looked(asked, 1);
  t.deepEqual(told, []);
  table.claim(session, target);
  while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  t.is(staying.begin(target), 0);
  staying.end(target);
  table.clear();
});

test('the end of the claim is the end of the watch', async (t) => {
  const { asked, staying, connections } = scene();
  connections.add('first');
  staying.begin(target);
  staying.end(target);
  const before = asked.times;
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.is(asked.times, before);
});
