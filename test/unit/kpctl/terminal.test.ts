import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { parse, parseAllDocuments } from 'yaml';
import { printable, printEvent, printResult, table, type Terminal } from '../../../src/kpctl/terminal.ts';

/** A terminal that keeps what it is given. */
function recorder(): Terminal & { readonly lines: string[] } {
  const lines: string[] = [];
  return {
    lines,
    result: (line) => void lines.push(line),
    progress: (line) => void lines.push(line),
    warn: (line) => void lines.push(line),
  };
}

test('columns are as wide as their widest cell, and no line ends in spaces', (t) => {
  t.deepEqual(
    table(
      ['NAME', 'READY', 'NOTE'],
      [
        ['a-long-name', '1/1', '-'],
        ['b', '10/10', ''],
      ],
    ),
    ['NAME         READY  NOTE', 'a-long-name  1/1    -', 'b            10/10'],
  );
  t.deepEqual(table(['A', 'B'], []), ['A  B']);
});

test('what others say of themselves cannot steer the terminal', (t) => {
  const name = 'eve\u001B]0;x\u0007\u009B2J\r\u202E@mbp';
  t.is(printable(`held by ${name}\nläuft`), 'held by eve\uFFFD]0;x\uFFFD\uFFFD2J\uFFFD\uFFFD@mbp\nläuft');
  t.deepEqual(table(['HOLDER'], [[`${name}\nroot`]]), ['HOLDER', 'eve\uFFFD]0;x\uFFFD\uFFFD2J\uFFFD\uFFFD@mbp root']);
});

test('one result in each format', (t) => {
  const value = { name: 'web', ports: [80] };
  const printed = (format: 'text' | 'json' | 'yaml'): string[] => {
    const terminal = recorder();
    printResult(terminal, format, value, () => ['web', '80']);
    return terminal.lines;
  };
  t.deepEqual(printed('text'), ['web', '80']);
  t.deepEqual(JSON.parse(printed('json').join('\n')), value);
  t.deepEqual(printed('yaml'), ['name: web\nports:\n  - 80']);
});

test('events are one JSON object a line, or one YAML document each', (t) => {
  const events = [{ event: 'claimed', port: 80 }, { event: 'ready' }];
  const printed = (format: 'text' | 'json' | 'yaml'): string[] => {
    const terminal = recorder();
    for (const event of events) printEvent(terminal, format, event, event.event);
    return terminal.lines;
  };
  t.deepEqual(printed('text'), ['claimed', 'ready']);
  t.deepEqual(
    printed('json').map((line): unknown => JSON.parse(line)),
    events,
  );
  t.true(printed('json').every((line) => !line.includes('\n')));
  const documents = parseAllDocuments(printed('yaml').join('\n'));
  t.deepEqual(
    documents.map((document) => parse(String(document)) as unknown),
    events,
  );
});

test('whoever stops reading the results ends the command in good order, without a stack trace', async (t) => {
  const module = new URL('../../../src/kpctl/terminal.ts', import.meta.url).href;
  const program = `
    import { standardTerminal, whenOutputGone } from '${module}';
    const timer = setInterval(() => standardTerminal.result('line'), 5);
    whenOutputGone(() => { clearInterval(timer); standardTerminal.result('more'); standardTerminal.progress('nobody reads'); });
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'exit');
  const errors = text(child.stderr);
  await once(child.stdout, 'data');
  child.stdout.destroy();
  t.deepEqual(await ended, [0, null]);
  t.is(await errors, 'nobody reads\n');
});
