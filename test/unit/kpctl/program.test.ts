import test from 'ava';
import { Interruption } from '../../../src/kpctl/interruption.ts';
import { addCommands, commandNames, newProgram } from '../../../src/kpctl/program.ts';

/** These print nothing of their own: they are another program, or a play. */
const silent: Readonly<Record<string, string>> = {
  run: "its stdout is its command's",
  demo: 'it tells a story, and what it starts prints',
  completion: 'a script of a shell',
  __complete: 'what such a script asks',
  help: 'a text for people',
};

test('every command that prints takes -o json|yaml', async (t) => {
  using interruption = new Interruption();
  const program = newProgram();
  const terminal = { result: () => undefined, progress: () => undefined, warn: () => undefined };
  await addCommands(program, { terminal, interruption, finish: () => undefined });
  const names = program.commands.map((command) => command.name());
  t.true(names.length >= 14, names.join(', '));
  t.deepEqual(names, commandNames);
  for (const command of program.commands) {
    const option = command.options.find(({ short, long }) => short === '-o' && long === '--output');
    const choices = option?.argChoices ?? [];
    const both = choices.includes('json') && choices.includes('yaml');
    t.is(both, silent[command.name()] === undefined, command.name());
    if (command.name() !== '__complete') t.not(command.description(), '', command.name());
  }
  t.deepEqual(
    Object.keys(silent).filter((name) => !names.includes(name)),
    [],
  );
});
