import { Command, Option } from 'commander';
import test from 'ava';
import { complete } from '../../../../src/kpctl/completion/candidates.ts';
import { placeOf } from '../../../../src/kpctl/completion/place.ts';
import { splitLine } from '../../../../src/kpctl/completion/split-line.ts';

function program(): Command {
  const made = new Command('kpctl').helpCommand(false).enablePositionalOptions();
  made
    .command('list')
    .description('list them')
    .option('-A, --all', 'all of them')
    .addOption(new Option('-o, --output <format>', 'how').choices(['json', 'yaml']));
  made
    .command('run')
    .argument('<command...>')
    .option('-n, --namespace <namespace>', 'where')
    .option('--replace [container]', 'which')
    .option('--group <group...>', 'who')
    .passThroughOptions();
  made.command('hidden', { hidden: true });
  return made;
}

const values = async (...words: string[]): Promise<string[]> =>
  (await complete(program(), words, [{ value: 'topic' }])).candidates.map(({ value }) => value);

test('a command line is split as a shell does', (t) => {
  for (const [line, words] of [
    ['', ['']],
    ['kpctl ', ['kpctl', '']],
    ['kpctl  a\tb', ['kpctl', 'a', 'b']],
    [`kpctl 'a b' "c\\"d" e\\ f`, ['kpctl', 'a b', 'c"d', 'e f']],
    [`kpctl 'open `, ['kpctl', 'open ']],
    ['kpctl "" ', ['kpctl', '', '']],
  ] as const) {
    t.deepEqual(splitLine(line), words, line);
  }
});

test('commands, and no hidden one', async (t) => {
  t.deepEqual(await values(''), ['list', 'run']);
  t.deepEqual(await values('no-such', ''), ['list', 'run']);
  t.deepEqual(await values('-'), ['--help', '-h']);
});

test('options once, values of options, also glued to them', async (t) => {
  t.deepEqual(await values('list', '--a'), ['--all']);
  t.deepEqual(await values('list', '-A', '--a'), []);
  t.deepEqual(await values('list', '-o', ''), ['json', 'yaml']);
  t.deepEqual(await values('list', '--output=j'), ['--output=json']);
  t.deepEqual(await values('list', '-ojson', '--o'), []);
  t.deepEqual(await values('list', 'x', ''), []);
});

test('options with values that may be left out, and with many', (t) => {
  const kinds = (...words: string[]): string => placeOf(program(), words).kind;
  t.is(kinds('run', '--replace', ''), 'value');
  t.is(kinds('run', '--replace', '-'), 'options');
  t.is(kinds('run', '--group', 'a', ''), 'value');
  t.is(kinds('run', '--group', 'a', '--namespace', 'x', ''), 'operand');
});

test("another program's command line is the shell's to complete", (t) => {
  for (const [words, from] of [
    [['run', '--', 'git', 'st'], 2],
    [['run', '-n', 'x', 'git', '-'], 3],
    [['run', '--', ''], 2],
  ] as const) {
    const place = placeOf(program(), words);
    t.deepEqual(place, { kind: 'command-line', from }, words.join(' '));
  }
});
