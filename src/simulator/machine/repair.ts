import { rmdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { Failure, messageOf, systemCode } from '../../platform/errors.ts';
import { createLogger, type Logger } from '../../platform/log.ts';
import { findProgram } from '../../platform/programs.ts';
import { run } from '../network/inside/run.ts';
import { HeldJournal, journalKeys, type JournalOwner } from './journal.ts';
import { leftJournals, thisBoot, thisNetwork } from './owner.ts';
import { journalDirectory } from './paths.ts';
import { ruleArguments } from './routes.ts';

const rulesSchema = z.object({
  rules: z.array(
    z.object({
      family: z.union([z.literal(4), z.literal(6)]),
      priority: z.int(),
      selector: z.string(),
      table: z.int(),
    }),
  ),
});
const deviceSchema = z.object({ device: z.string() });

/**
 * Undoes what killed `up`s have left in this network namespace, or before the machine was started again. Answers what was undone, as sentences for
 * the user; none when there was nothing. Needs root. Rejects with a Failure LEFTOVERS_KEPT when something could not be undone: it stays
 * in the journal.
 */
export async function repair({ log = createLogger('kpctl') }: { readonly log?: Logger } = {}): Promise<readonly string[]> {
  const said: string[] = [];
  for (const path of leftJournals()) {
    let journal: HeldJournal | undefined;
    try {
      journal = HeldJournal.take(path);
    } catch (error) {
      if (systemCode(error) === 'EACCES' || systemCode(error) === 'EPERM') throw rootNeeded(error);
      throw error;
    }
    // Somebody else is at it.
    if (journal === undefined) continue;
    try {
      said.push(...(await undoFound(journal, log)));
    } finally {
      journal.end();
    }
  }
  removeEmpty();
  return said;
}

/** Of one that was killed between making the folder and writing into it. */
function removeEmpty(): void {
  try {
    rmdirSync(journalDirectory);
    rmdirSync(dirname(journalDirectory));
  } catch {
    // Somebody's journal is in it, or it was not there.
  }
}

/** Undoes what a journal had when it was taken, newest first. Rejects like `repair`. */
export async function undoFound(journal: HeldJournal, log: Logger): Promise<string[]> {
  const said: string[] = [];
  const problems: string[] = [];
  const ofThisKernel = isOfThisKernel(journal.found.owner);
  for (const [key, value] of [...journal.found.entries].toReversed()) {
    try {
      if (key.startsWith('names/')) said.push(...(await (await import('./names/index.ts')).undoNamesEntry(key, value, log)));
      // What was the kernel's is gone with it.
      else if (ofThisKernel) said.push(...(await undoNetworkEntry(key, value)));
      journal.delete(key);
    } catch (error) {
      log.warn({ err: error, key }, 'a change could not be undone');
      problems.push(messageOf(error));
    }
  }
  if (problems.length === 0) return said;
  throw new Failure('LEFTOVERS_KEPT', `what an earlier "kpctl up" has left could not all be undone: ${problems.join('; ')}`, {
    remedy: 'try "sudo kpctl down" again; what is left is listed in /var/lib/kpctl/journal',
  });
}

function isOfThisKernel(owner: JournalOwner | undefined): boolean {
  return owner === undefined || (owner.boot === thisBoot() && owner.network === thisNetwork());
}

async function undoNetworkEntry(key: string, value: object): Promise<string[]> {
  const ip = findProgram('ip') ?? 'ip';
  if (key === journalKeys.rules) {
    const { rules } = rulesSchema.parse(value);
    const gone: string[] = [];
    for (const rule of rules) if (await removed(ip, ruleArguments('delete', rule))) gone.push(`${rule.priority} (IPv${rule.family})`);
    return gone.length === 0 ? [] : [`removed the routing rules ${gone.join(', ')}`];
  }
  if (key === journalKeys.device) {
    const { device } = deviceSchema.parse(value);
    return (await removed(ip, ['link', 'delete', 'dev', device])) ? [`removed the network device ${device}`] : [];
  }
  throw new Error(`${key}: written by another version of kpctl`);
}

/** False: it was gone already. */
async function removed(ip: string, parameters: readonly string[]): Promise<boolean> {
  try {
    await run(ip, parameters);
    return true;
  } catch (error) {
    if (/No such file or directory|Cannot find device|No such process|does not exist|not supported by protocol/iu.test(messageOf(error)))
      return false;
    throw error;
  }
}

function rootNeeded(cause: unknown): Failure {
  return new Failure('ROOT_REQUIRED', 'what an earlier "kpctl up" has left can only be undone by root', {
    remedy: 'run "sudo kpctl down"',
    cause,
  });
}
