import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { Stage } from './stage.ts';

/** `KPEERING_CRASHES=200` for as many as the promise was first shown with. */
const CRASHES = Number(process.env['KPEERING_CRASHES'] ?? 8);
/** Numbers that are the same with each run: what fails can be run again. */
const SEED = Number(process.env['KPEERING_CRASH_SEED'] ?? 6);
/** The longest time that one crash may take here, start and repair included. */
const PATIENCE_MILLISECONDS = 20_000;

const patterns = {
  front: ['-f', 'integration/machine/front.ts'],
  helper: ['-f', 'bin/kpctl-helper.js'],
  agent: ['-f', 'integration/machine/agent.ts'],
  nft: ['-x', 'nft'],
} as const;
const victims: readonly (readonly (keyof typeof patterns)[])[] = [
  ['helper'],
  ['helper'],
  ['agent'],
  ['front'],
  ['nft'],
  ['front', 'helper', 'agent', 'nft'],
  ['helper', 'agent'],
];

test.serial(`killed at ${CRASHES} random moments it leaves nothing, or the next command repairs it and says so`, async (t) => {
  t.timeout(CRASHES * PATIENCE_MILLISECONDS);
  await using stage = await Stage.create();
  const before = await stage.state();
  const random = randomNumbers(SEED);
  const begin = performance.now();
  const { front } = await stage.up();
  const whole = performance.now() - begin;
  front.tell('close');
  await front.said('exited');
  await stage.becomes(before, 1000);

  const counts = { nothing: 0, repaired: 0 };
  let slowest = 0;
  for (let crash = 0; crash < CRASHES; crash += 1) {
    const chosen = victims[Math.floor(random() * victims.length)] ?? ['helper'];
    const moment = random() * whole * 1.3;
    const what = `crash ${crash}: ${chosen.join(', ')} after ${Math.round(moment)} ms`;
    const started = stage.front();
    await pause(moment);
    await Promise.all(chosen.map(async (name) => await stage.laptop.attempt('pkill', ['-KILL', ...patterns[name]])));
    // A front that lives on may have begun only now; it is the user's Ctrl-C.
    if (!chosen.includes('front')) started.tell('close');
    const killed = performance.now();
    await Promise.all([started.ended(), ended(stage, what)]);
    const left = await stage.leftJournals();
    if (left === '') {
      slowest = Math.max(slowest, performance.now() - killed);
      counts.nothing += 1;
    } else {
      t.true(chosen.includes('helper'), `${what}: ${left}`);
      const { repaired } = await stage.front({ repairOnly: true }).said('started');
      // Killed after it had written what it was about to do, and before it did: then there was nothing to undo.
      if (repaired.length > 0) counts.repaired += 1;
      else counts.nothing += 1;
    }
    await t.notThrowsAsync(stage.becomes(before, 500), what);
  }
  t.log(`${CRASHES} crashes in ${Math.round((performance.now() - begin) / 1000)} s`, counts, `slowest end: ${Math.round(slowest)} ms`);
});

/** Resolves when none of the processes is there any more. */
async function ended(stage: Stage, what: string): Promise<void> {
  const begin = performance.now();
  for (;;) {
    const alive = await stage.laptop.attempt('pgrep', ['-af', 'bin/kpctl-helper.js|integration/machine/agent.ts|nft -i']);
    if (alive.code === 1) return;
    if (performance.now() - begin > PATIENCE_MILLISECONDS) throw new Error(`${what}: still there: ${alive.stdout}`);
    await pause(20);
  }
}

/** Lehmer's generator: 0 to 1. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
