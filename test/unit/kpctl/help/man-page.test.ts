import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { run } from '../../../../src/kpctl/demo/processes.ts';
import { manPage } from '../../../../src/kpctl/help/man-page.ts';
import { renderMarkdown } from '../../../../src/kpctl/help/render.ts';
import { topics } from '../../../../src/kpctl/help/topics.ts';
import { Interruption } from '../../../../src/kpctl/interruption.ts';
import { addCommands, newProgram } from '../../../../src/kpctl/program.ts';

test('the man page has every command, option and topic, and man(1) has nothing to say against it', async (t) => {
  t.timeout(120_000);
  using interruption = new Interruption();
  const program = newProgram();
  const terminal = { result: () => undefined, progress: () => undefined, warn: () => undefined };
  await addCommands(program, { terminal, interruption, finish: () => undefined });
  const folder = mkdtempSync(join(tmpdir(), 'kpeering-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'kpctl.1');
  writeFileSync(file, manPage(program, topics(), '1.2.3'));
  const environment = { PATH: process.env['PATH'], MANWIDTH: '200', LC_ALL: 'C.UTF-8', MANROFFOPT: '-c' };
  const shown = await run(['sh', '-c', 'man --warnings=w -P cat -l "$0" | sed "s/.\\x08//g"', file], environment);
  t.is(shown.stderr, '');
  for (const section of ['NAME', 'SYNOPSIS', 'OPTIONS', 'COMMANDS', 'EXIT STATUS', 'ENVIRONMENT', 'FILES']) {
    t.regex(shown.stdout, new RegExp(`^${section}$`, 'm'));
  }
  for (const command of program.createHelp().visibleCommands(program)) {
    t.true(shown.stdout.includes(`kpctl ${command.name()} `), command.name());
    for (const { flags } of command.options) t.true(shown.stdout.includes(flags), `${command.name()} ${flags}`);
  }
  t.false(shown.stdout.includes('__complete'));
  t.true(shown.stdout.includes('NODE_USE_ENV_PROXY'));
});

test('topics fit the width of the terminal, with colours only where they are wanted', (t) => {
  const all = topics();
  t.true(all.length >= 6);
  for (const { name, title, text } of all) {
    t.not(title, '', name);
    const plain = renderMarkdown(`# ${title}\n\n${text}`, { width: 60, colours: false });
    t.false(plain.join('\n').includes('\u001b'), name);
    const code = new Set(text.split('\n').map((line) => `    ${line}`));
    // A word that is longer than the line, and what is to be copied, stay whole.
    for (const line of plain)
      t.true(line.length <= 60 || code.has(line) || /^(.*  )?\S{25,}$/.test(line) || !line.trim().includes(' '), `${name}: ${line}`);
  }
  t.true(renderMarkdown('**strong**', { width: 60, colours: true })[0]?.includes('\u001b[1m'));
});
