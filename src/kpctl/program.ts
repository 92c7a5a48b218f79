import { Command } from 'commander';
import { version } from '../platform/version.ts';
import type { Interruption } from './interruption.ts';
import type { Terminal } from './terminal.ts';

/** What commands are made with. */
export interface CommandContext {
  readonly terminal: Terminal;
  readonly interruption: Interruption;
  /** Told the exit code of a command that has not failed and is not done, either. */
  readonly finish: (code: number) => void;
}

/** One module of `commands/`: the commands that it adds, in the order of the help, and how it is loaded. */
interface CommandModule {
  readonly names: readonly string[];
  readonly load: () => Promise<(program: Command, context: CommandContext) => void>;
}

/** Each is loaded when it is asked for: kpctl starts faster, and on any platform, whatever the others need. */
const modules: readonly CommandModule[] = [
  {
    names: ['install', 'uninstall'],
    load: async () => {
      const { installCommand, uninstallCommand } = await import('./commands/install.ts');
      return (program, { terminal, interruption }) => {
        installCommand(program, terminal, interruption);
        uninstallCommand(program, terminal, interruption);
      };
    },
  },
  {
    names: ['list'],
    load: async () => {
      const { listCommand } = await import('./commands/list.ts');
      return (program, { terminal }) => listCommand(program, terminal);
    },
  },
  {
    names: ['inject', 'eject'],
    load: async () => {
      const { injectCommand, ejectCommand } = await import('./commands/inject.ts');
      return (program, { terminal, interruption }) => {
        injectCommand(program, terminal, interruption);
        ejectCommand(program, terminal, interruption);
      };
    },
  },
  {
    names: ['intercept'],
    load: async () => {
      const { interceptCommand } = await import('./commands/intercept.ts');
      return (program, { terminal, interruption, finish }) => interceptCommand(program, terminal, interruption, finish);
    },
  },
  {
    names: ['leave'],
    load: async () => {
      const { leaveCommand } = await import('./commands/leave.ts');
      return (program, { terminal }) => leaveCommand(program, terminal);
    },
  },
  {
    names: ['run'],
    load: async () => {
      const { runCommand } = await import('./commands/run.ts');
      return (program, { terminal, interruption, finish }) => runCommand(program, terminal, interruption, finish);
    },
  },
  {
    names: ['env'],
    load: async () => {
      const { envCommand } = await import('./commands/env.ts');
      return (program, { terminal }) => envCommand(program, terminal);
    },
  },
  {
    names: ['up'],
    load: async () => {
      const { upCommand } = await import('./commands/up.ts');
      return (program, { terminal, interruption, finish }) => upCommand(program, terminal, interruption, finish);
    },
  },
  {
    names: ['down'],
    load: async () => {
      const { downCommand } = await import('./commands/down.ts');
      return (program, { terminal }) => downCommand(program, terminal);
    },
  },
  {
    names: ['status'],
    load: async () => {
      const { statusCommand } = await import('./commands/status.ts');
      return (program, { terminal }) => statusCommand(program, terminal);
    },
  },
  {
    names: ['flows'],
    load: async () => {
      const { flowsCommand } = await import('./commands/flows.ts');
      return (program, { terminal, interruption }) => flowsCommand(program, terminal, interruption);
    },
  },
  {
    names: ['doctor'],
    load: async () => {
      const { doctorCommand } = await import('./commands/doctor.ts');
      return (program, { terminal, interruption, finish }) => doctorCommand(program, terminal, interruption, finish);
    },
  },
  {
    names: ['logs'],
    load: async () => {
      const { logsCommand } = await import('./commands/logs.ts');
      return (program, { terminal, interruption }) => logsCommand(program, terminal, interruption);
    },
  },
  {
    names: ['demo'],
    load: async () => {
      const { demoCommand } = await import('./commands/demo.ts');
      return (program, { terminal, interruption, finish }) => demoCommand(program, terminal, interruption, finish);
    },
  },
  {
    names: ['version'],
    load: async () => {
      const { versionCommand } = await import('./commands/version.ts');
      return (program, { terminal }) => versionCommand(program, terminal);
    },
  },
  {
    names: ['completion', '__complete'],
    load: async () => (await import('./commands/completion.ts')).completionCommands,
  },
  {
    names: ['help'],
    load: async () => (await import('./commands/help.ts')).helpCommand,
  },
];

/** kpctl without its commands. */
export function newProgram(): Command {
  return new Command('kpctl')
    .description('Joins a process on this machine to a Kubernetes cluster, in both directions.')
    .version(version, '-V, --version')
    .helpCommand(false)
    .addHelpText('after', '\n"kpctl help" lists the topics that it tells about at length.')
    .enablePositionalOptions();
}

/** Every command's name, in the order of the help. */
export const commandNames: readonly string[] = modules.flatMap(({ names }) => names);

/** Puts the commands of kpctl into `program`: all of them, unless `wanted` is one's name, whose module is then the only one loaded. */
export async function addCommands(program: Command, context: CommandContext, wanted?: string): Promise<void> {
  const asked = modules.filter(({ names }) => wanted !== undefined && names.includes(wanted));
  const added = await Promise.all((asked.length > 0 ? asked : modules).map(async ({ load }) => await load()));
  for (const add of added) add(program, context);
}
