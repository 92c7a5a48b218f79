import type { Command } from 'commander';
import { Failure, ExitCode } from '../../platform/errors.ts';
import { renderMarkdown } from '../help/render.ts';
import { topics } from '../help/topics.ts';
import { addCommands, commandNames, newProgram, type CommandContext } from '../program.ts';

/** `kpctl help [TOPIC]`: the long stories, and the help of commands. */
export function helpCommand(program: Command, context: CommandContext): void {
  program
    .command('help')
    .description('tell about a topic or a command; without one, list them')
    .argument('[topic]', 'a topic or a command')
    .action(async (name: string | undefined) => {
      const { terminal } = context;
      if (name !== undefined && commandNames.includes(name)) {
        const asked = newProgram();
        await addCommands(asked, context, name);
        const command = asked.commands.find((one) => one.name() === name);
        return terminal.result((command ?? asked).helpInformation().trimEnd());
      }
      const all = topics();
      if (name === undefined) {
        const whole = newProgram();
        await addCommands(whole, context);
        terminal.result(whole.helpInformation().trimEnd());
        terminal.result('\nTopics:');
        const width = Math.max(...all.map((topic) => topic.name.length));
        for (const topic of all) terminal.result(`  ${topic.name.padEnd(width)}  ${topic.title}`);
        return;
      }
      const topic = all.find((one) => one.name === name);
      if (topic === undefined) {
        throw new Failure('TOPIC_UNKNOWN', `there is no topic and no command "${name}"`, {
          remedy: `choose one of ${all.map((one) => one.name).join(', ')}, or see "kpctl help"`,
          exitCode: ExitCode.usage,
        });
      }
      const width = process.stdout.columns || 80;
      for (const line of renderMarkdown(`# ${topic.title}\n\n${topic.text}`, { width, colours: terminal.colours === true }))
        terminal.result(line);
    });
}
