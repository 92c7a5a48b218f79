/** Undoes what a journal of names-process.ts tells, the newest change first; says what it did, one line of JSON. */
import { readFileSync } from 'node:fs';
import { createLogger } from '../../../src/platform/log.ts';
import { undoNamesEntry } from '../../../src/simulator/machine/names/index.ts';

const entries: unknown = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));
const said: string[] = [];
if (Array.isArray(entries)) {
  for (const entry of entries.toReversed()) {
    if (Array.isArray(entry)) said.push(...(await undoNamesEntry(String(entry[0]), entry[1], createLogger('repair'))));
  }
}
process.stdout.write(`${JSON.stringify(said)}\n`);
