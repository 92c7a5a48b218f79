import { Command } from 'commander';
import test from 'ava';
import { Interruption } from '../../../src/kpctl/interruption.ts';
import { addCommands } from '../../../src/kpctl/program.ts';

/** These print nothing of their own: they are another program, or a play. */
const silent: Readonly<Record<string, string>> = {
  run: "its stdout is its command's",
  demo: 'it tells a story, and what it starts prints',
};

test('every command that prints takes -o json|yaml', (t) => {
  using interruption = new Interruption();
  const program = new Command('kpctl').enablePositionalOptions();
  const terminal = { result: () => undefined, progress: () => undefined, warn: () => undefined };
  addCommands(program, terminal, interruption, () => undefined);
  const names = program.commands.map((command) => command.name());
  t.true(names.length >= 14, names.join(', '));
  for (const command of program.commands) {
    const option = command.options.find(({ short, long }) => short === '-o' && long === '--output');
    const choices = option?.argChoices ?? [];
    const both = choices.includes('json') && choices.includes('yaml');
    t.is(both, silent[command.name()] === undefined, command.name());
    t.not(command.description(), '', command.name());
  }
  t.deepEqual(
    Object.keys(silent).filter((name) => !names.includes(name)),
    [],
  );
});
