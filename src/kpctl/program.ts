import type { Command } from 'commander';
import { envCommand } from './commands/env.ts';
import { demoCommand } from './commands/demo.ts';
import { ejectCommand, injectCommand } from './commands/inject.ts';
import { installCommand, uninstallCommand } from './commands/install.ts';
import { interceptCommand } from './commands/intercept.ts';
import { leaveCommand } from './commands/leave.ts';
import { listCommand } from './commands/list.ts';
import { runCommand } from './commands/run.ts';
import { statusCommand } from './commands/status.ts';
import { versionCommand } from './commands/version.ts';
import { doctorCommand } from './commands/doctor.ts';
import { logsCommand } from './commands/logs.ts';
import type { Interruption } from './interruption.ts';
import type { Terminal } from './terminal.ts';

/** Puts every command of kpctl into `program`. `finish` is told the exit code of a command that has not failed and is not done, either. */
export function addCommands(program: Command, terminal: Terminal, interruption: Interruption, finish: (code: number) => void): void {
  installCommand(program, terminal, interruption);
  uninstallCommand(program, terminal, interruption);
  listCommand(program, terminal);
  injectCommand(program, terminal, interruption);
  ejectCommand(program, terminal, interruption);
  interceptCommand(program, terminal, interruption, finish);
  leaveCommand(program, terminal);
  runCommand(program, terminal, interruption, finish);
  envCommand(program, terminal);
  statusCommand(program, terminal);
  doctorCommand(program, terminal, interruption, finish);
  logsCommand(program, terminal, interruption);
  demoCommand(program, terminal, interruption, finish);
  versionCommand(program, terminal);
}
