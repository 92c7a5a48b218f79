import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { manPage } from '../src/kpctl/help/man-page.ts';
import { topics } from '../src/kpctl/help/topics.ts';
import { Interruption } from '../src/kpctl/interruption.ts';
import { addCommands, newProgram } from '../src/kpctl/program.ts';
import { standardTerminal } from '../src/kpctl/terminal.ts';
import { version } from '../src/platform/version.ts';

/** Writes man/kpctl.1. */
using interruption = new Interruption();
const program = newProgram();
await addCommands(program, { terminal: standardTerminal, interruption, finish: () => undefined });
mkdirSync(new URL('../man/', import.meta.url), { recursive: true });
writeFileSync(fileURLToPath(new URL('../man/kpctl.1', import.meta.url)), manPage(program, topics(), version));
