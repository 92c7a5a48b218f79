import { setTimeout as delay } from 'node:timers/promises';
import { Failure, systemCode } from '../../platform/errors.ts';
import { leftovers, owner } from '../../simulator/machine/owner.ts';
import { repair } from '../../simulator/machine/repair.ts';
import type { Leftovers, UpOwner } from '../../simulator/machine/types.ts';

/** What `kpctl down` has done. */
export interface TakenDown {
  /** The process of the `up` that it has ended. */
  readonly ended?: number;
  /** What a killed `up` had left, and is undone now: sentences. */
  readonly repaired: readonly string[];
}

/** What is used of the machine; tests give their own. */
export interface TakeDownParts {
  readonly uid: number;
  readonly owner: () => UpOwner | undefined;
  readonly leftovers: () => Leftovers | undefined;
  readonly repair: () => Promise<readonly string[]>;
  readonly kill: (pid: number, signal: NodeJS.Signals) => void;
  readonly patienceMilliseconds: number;
}

const POLL_MILLISECONDS = 20;
/** Longer than the helper gives itself to undo everything and its agent to end. */
const PATIENCE_MILLISECONDS = 15_000;

/**
 * Ends the `up` of this machine and waits until it has undone everything. Root tells the helper; whoever it works for needs no root: when their agent ends, the
 * helper undoes everything. Repairs what a killed one has left. Failures: UP_OF_ANOTHER, UP_LEFTOVERS, DOWN_INCOMPLETE.
 */
export async function takeDown(parts: TakeDownParts = systemParts()): Promise<TakenDown> {
  const running = parts.owner();
  if (running !== undefined) {
    end(running, parts);
    await untilEnded(running, parts);
  }
  const ended = running === undefined ? {} : { ended: running.pid };
  // Of a killed one; or of this one, where something could not be undone in time.
  const left = parts.leftovers();
  if (left === undefined) return { ...ended, repaired: [] };
  if (parts.uid !== 0) throw leftoversFailure(left);
  return { ...ended, repaired: await parts.repair() };
}

/** That a killed `up` has left something which only root can undo. */
export function leftoversFailure(left: Leftovers): Failure {
  return new Failure('UP_LEFTOVERS', describeLeftovers(left), { remedy: 'run "sudo kpctl down", which undoes that' });
}

export function describeLeftovers({ name, since }: Leftovers): string {
  return `a "kpctl up"${name === '' ? '' : ` of ${name}`} that began at ${since.toISOString()} was killed (or could not undo everything) and has left settings of this machine changed`;
}

function end(running: UpOwner, { uid, kill }: TakeDownParts): void {
  const { pid, agentPid } = running;
  if (uid !== 0 && (running.uid !== uid || agentPid === undefined)) {
    throw new Failure(
      'UP_OF_ANOTHER',
      `this machine's "kpctl up" is ${running.uid === uid ? 'still starting' : `that of ${running.name}`} (process ${pid})`,
      {
        remedy: 'run "sudo kpctl down"',
      },
    );
  }
  try {
    kill(uid === 0 || agentPid === undefined ? pid : agentPid, 'SIGTERM');
  } catch (error) {
    // It has ended by itself meanwhile.
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}

async function untilEnded(running: UpOwner, parts: TakeDownParts): Promise<void> {
  const late = performance.now() + parts.patienceMilliseconds;
  while (parts.owner()?.pid === running.pid) {
    if (performance.now() > late) {
      throw new Failure(
        'DOWN_INCOMPLETE',
        `the helper of "kpctl up" (process ${running.pid}) has not ended within ${parts.patienceMilliseconds / 1000} s`,
        {
          likely: 'it is stopped, or it hangs',
          remedy: `run "sudo kill -KILL ${running.pid}" and then "sudo kpctl down", which undoes what it leaves`,
        },
      );
    }
    await delay(POLL_MILLISECONDS);
  }
}

function systemParts(): TakeDownParts {
  return {
    uid: process.geteuid?.() ?? -1,
    owner: () => owner(),
    leftovers: () => leftovers(),
    repair: async () => await repair(),
    kill: (pid, signal) => void process.kill(pid, signal),
    patienceMilliseconds: PATIENCE_MILLISECONDS,
  };
}
