import { existsSync } from 'node:fs';
import { CommanderError } from 'commander';
import { ExitCode, Failure } from '../platform/errors.ts';
import { createLogger } from '../platform/log.ts';
import { journalDirectory } from '../simulator/machine/paths.ts';
import { Interruption } from './interruption.ts';
import { addCommands, newProgram } from './program.ts';
import { printable, standardTerminal, whenOutputGone } from './terminal.ts';

/** The edge of kpctl: the only place that ends the process, hears signals and turns errors into words. */
async function main(): Promise<number> {
  const terminal = standardTerminal;
  using interruption = new Interruption();
  whenOutputGone(() => interruption.raise('nobody reads the output any more'));
  const program = newProgram()
    .configureOutput({ outputError: (text, write) => write(usageLine(text)) })
    .exitOverride();
  let exitCode: number = ExitCode.done;
  const finish = (code: number): void => {
    exitCode = code;
  };
  await addCommands(program, { terminal, interruption, finish }, process.argv[2]);
  for (const command of program.commands) command.copyInheritedSettings(program);
  try {
    if (existsSync(journalDirectory) && !looksAfterLeftovers.has(process.argv[2] ?? '')) {
      const { mendLeftovers } = await import('./up/mend-leftovers.ts');
      await mendLeftovers(terminal);
    }
    await program.parseAsync();
  } catch (error) {
    // What was given up because of Ctrl-C did not fail.
    return interruption.interrupted ? ExitCode.interrupted : report(error);
  }
  return exitCode;
}

/** `up` and `down` undo what a killed `up` has left, and say so, by themselves; what a shell asks while somebody types says nothing. */
const looksAfterLeftovers: ReadonlySet<string> = new Set(['up', 'down', 'completion', '__complete']);

/** `run` answers 125 for whatever is kpctl's own failure, since 1 and 2 may be its command's. */
const isRun = process.argv[2] === 'run';

/** commander's `error: …`, which may suggest a near name on a line of its own, as one of our lines. */
function usageLine(text: string): string {
  const what = text
    .replace(/^error: /, '')
    .trim()
    .replaceAll(/\s*\n\s*/g, ' ');
  return `kpctl: ${what}; see "kpctl --help" [USAGE]\n`;
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // commander has printed its message; help and version are no errors
    if (error.exitCode === 0) return ExitCode.done;
    return isRun ? ExitCode.kpctlFailed : ExitCode.usage;
  }
  if (error instanceof Failure) {
    process.stderr.write(`kpctl: ${printable(error.format())}\n`);
    return isRun && error.exitCode <= ExitCode.usage ? ExitCode.kpctlFailed : error.exitCode;
  }
  createLogger('kpctl').error({ err: error }, 'a bug in kpctl: please report it');
  return isRun ? ExitCode.kpctlFailed : ExitCode.failed;
}

process.exit(await main());
