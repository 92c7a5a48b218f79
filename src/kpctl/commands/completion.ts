import { Argument, type Command } from 'commander';
import { complete } from '../completion/candidates.ts';
import { scripts, shells, type Shell } from '../completion/scripts.ts';
import { splitLine } from '../completion/split-line.ts';
import { topics } from '../help/topics.ts';
import { addCommands, newProgram, type CommandContext } from '../program.ts';

/** `kpctl completion SHELL` prints the script of a shell; the hidden `__complete` is what those scripts ask. */
export function completionCommands(program: Command, context: CommandContext): void {
  const { terminal } = context;
  program
    .command('completion')
    .description('print the completion of a shell: commands, options, and workloads, namespaces, ports … of the cluster')
    .addArgument(new Argument('<shell>', 'the shell').choices(shells))
    .action((shell: Shell) => terminal.result(scripts[shell].trimEnd()));
  program
    .command('__complete', { hidden: true })
    .argument('<how>')
    .argument('[words...]')
    .passThroughOptions()
    .action(async (how: string, given: string[]) => {
      const words = how === 'line' ? splitLine(given[0] ?? '').slice(1) : given;
      // All commands where one's name is being written, else the one that is there.
      const asked = newProgram();
      await addCommands(asked, context, words.length > 1 && words[0] !== 'help' ? words[0] : undefined);
      const offered = topics().map(({ name, title }) => ({ value: name, description: title }));
      const { candidates, also } = await complete(asked, words, offered);
      for (const { value, description = '' } of candidates) terminal.result(`${value}\t${description.split('\n')[0] ?? ''}`);
      if (also === 'files') terminal.result(':files');
      else if (also !== undefined) terminal.result(`:command ${also.commandFrom === -1 ? words.length - 1 : also.commandFrom}`);
    });
}
