import { leftovers } from '../../simulator/machine/owner.ts';
import { repair } from '../../simulator/machine/repair.ts';
import type { Terminal } from '../terminal.ts';
import { describeLeftovers } from './take-down.ts';

/** Before any command: what a killed `up` has left is undone by root, and told to others. Loaded only where there is a journal. Never rejects. */
export async function mendLeftovers(terminal: Pick<Terminal, 'warn'>): Promise<void> {
  const left = leftovers();
  const isRoot = process.geteuid?.() === 0;
  if (left === undefined) {
    // A journal of one that was killed before it had changed anything: only the file goes.
    if (isRoot) await repair().catch(() => undefined);
    return;
  }
  if (!isRoot) {
    terminal.warn(`${describeLeftovers(left)}: run "sudo kpctl down", which undoes that`);
    return;
  }
  try {
    const undone = await repair();
    // It may have been killed before it had changed anything.
    if (undone.length > 0) terminal.warn(`${describeLeftovers(left)}; undone: ${undone.join('; ')}`);
  } catch (error) {
    terminal.warn(`${describeLeftovers(left)}, and it could not be undone: ${error instanceof Error ? error.message : String(error)}`);
  }
}
