import test from 'ava';
import { Failure } from '../../../../src/platform/errors.ts';
import { takeDown, type TakeDownParts } from '../../../../src/kpctl/up/take-down.ts';
import type { UpOwner } from '../../../../src/simulator/machine/index.ts';

const since = new Date('2026-11-21T12:00:00Z');
const alices: UpOwner = { pid: 100, agentPid: 101, uid: 1000, name: 'alice', since };

/** An `up` that ends as soon as one of its processes is told to. */
function machine(owner: UpOwner | undefined, more: Partial<TakeDownParts> = {}): TakeDownParts & { readonly killed: (string | number)[] } {
  const killed: (string | number)[] = [];
  let now = owner;
  return {
    killed,
    uid: 1000,
    owner: () => now,
    leftovers: () => undefined,
    repair: async () => ['a rule is gone'],
    kill: (pid, signal) => {
      killed.push(pid, signal);
      now = undefined;
    },
    patienceMilliseconds: 50,
    ...more,
  };
}

test('the caller ends the agent, and root the helper', async (t) => {
  const own = machine(alices);
  t.deepEqual(await takeDown(own), { ended: 100, repaired: [] });
  t.deepEqual(own.killed, [101, 'SIGTERM']);
  const roots = machine(alices, { uid: 0 });
  t.deepEqual(await takeDown(roots), { ended: 100, repaired: [] });
  t.deepEqual(roots.killed, [100, 'SIGTERM']);
});

test("another user's is left alone, and so is one whose agent is not there yet", async (t) => {
  const { agentPid: _, ...starting } = alices;
  for (const [owner, uid] of [
    [alices, 1001],
    [starting, 1000],
  ] as const) {
    const parts = machine(owner, { uid });
    t.is((await t.throwsAsync(takeDown(parts), { instanceOf: Failure }))?.code, 'UP_OF_ANOTHER');
    t.deepEqual(parts.killed, []);
  }
});

test('nothing to end is no failure; what a killed one left is repaired by root and told to others', async (t) => {
  t.deepEqual(await takeDown(machine(undefined)), { repaired: [] });
  const left = { leftovers: () => ({ name: 'alice', since }) };
  t.deepEqual(await takeDown(machine(undefined, { ...left, uid: 0 })), { repaired: ['a rule is gone'] });
  const failure = await t.throwsAsync(takeDown(machine(undefined, left)), { instanceOf: Failure });
  t.regex(failure?.format() ?? '', /alice .* was killed .*sudo kpctl down.*\[UP_LEFTOVERS\]/);
});

test('a helper that does not end is told, and one that has ended by itself meanwhile is down', async (t) => {
  const stuck = machine(alices, { kill: () => undefined });
  t.is((await t.throwsAsync(takeDown(stuck), { instanceOf: Failure }))?.code, 'DOWN_INCOMPLETE');
  let present: UpOwner | undefined = alices;
  const gone = machine(undefined, {
    owner: () => present,
    kill: () => {
      present = undefined;
      throw Object.assign(new Error('no such process'), { code: 'ESRCH' });
    },
  });
  t.deepEqual(await takeDown(gone), { ended: 100, repaired: [] });
});

test('what an up that was ended could not undo is repaired by root and told to others, and is not called down', async (t) => {
  const left = { leftovers: () => ({ name: 'alice', since }) };
  t.deepEqual(await takeDown(machine(alices, { ...left, uid: 0 })), { ended: 100, repaired: ['a rule is gone'] });
  t.is((await t.throwsAsync(takeDown(machine(alices, left)), { instanceOf: Failure }))?.code, 'UP_LEFTOVERS');
});
