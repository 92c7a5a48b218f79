import { execFileSync } from 'node:child_process';
import { parseEnv } from 'node:util';
import test from 'ava';
import { parse } from 'yaml';
import { expand } from '../../../../src/simulator/environment/expansion.ts';
import { formatEnvironment } from '../../../../src/simulator/environment/format.ts';
import { mergeForLaptop } from '../../../../src/simulator/environment/merge.ts';
import { divideQuantity, parseQuantity } from '../../../../src/simulator/environment/quantity.ts';

const awkward: Record<string, string> = {
  EMPTY: '',
  PLAIN: 'http://web:80/a',
  SPACES: '  both ends  ',
  SINGLE: "it's",
  DOUBLE: 'say "hi"',
  BOTH: `it's "both"`,
  BACKQUOTE: '`id`',
  DOLLAR: '$HOME ${HOME} $(id) $$',
  BACKSLASH: String.raw`a\nb\\c\'`,
  LINES: 'one\ntwo\n\n',
  HASH: 'a # b',
  EQUALS: 'a=b=c',
  UNICODE: 'żółć 🙂 \u00a0',
  BANG: '!! ; rm -rf x & | > y',
  TAB: 'a\tb',
  ONLY_QUOTE: "'",
};

test('shell: a POSIX shell that evaluates it has exactly the values, and runs nothing', (t) => {
  const { text, leftOut } = formatEnvironment([...Object.entries(awkward), ['dotted.key', 'x'], ['1digit', 'y']], 'shell');
  t.deepEqual(leftOut, ['1digit', 'dotted.key']);
  const names = Object.keys(awkward);
  const script = `set -eu; eval "$1"; ${names.map((name) => `printf '%s\\0' "$${name}"`).join('; ')}`;
  const output = execFileSync('/bin/sh', ['-c', script, 'sh', text], { env: {} }).toString();
  t.deepEqual(output.split('\0').slice(0, -1), Object.values(awkward));
});

test('dotenv: Node reads it back equal', (t) => {
  const { text, leftOut } = formatEnvironment(Object.entries(awkward), 'dotenv');
  t.deepEqual({ ...parseEnv(text) }, awkward);
  t.deepEqual(leftOut, []);
  const impossible = formatEnvironment(
    [
      ['ALL', '\'"`'],
      ['CR', 'a\r\nb'],
      ['A=B', '1'],
    ],
    'dotenv',
  );
  t.deepEqual(impossible, { text: '', leftOut: ['A=B', 'ALL', 'CR'] });
});

test('json and yaml: read back equal', (t) => {
  t.deepEqual(JSON.parse(formatEnvironment(Object.entries(awkward), 'json').text), awkward);
  t.deepEqual(parse(formatEnvironment(Object.entries({ ...awkward, NUMBER: '0123', YES: 'yes', NULL: 'null' }), 'yaml').text), {
    ...awkward,
    NUMBER: '0123',
    YES: 'yes',
    NULL: 'null',
  });
});

test("what describes the machine stays the laptop's, all else is the container's", (t) => {
  const container = new Map([
    ...['PATH', 'HOME', 'USER', 'SHELL', 'TERM', 'XDG_RUNTIME_DIR', 'TMPDIR'].map((name) => [name, 'container'] as const),
    ['DB', 'container'],
    ['LANG', 'container'],
    ['__proto__', 'container'],
  ]);
  const merged = mergeForLaptop(container, {
    PATH: 'laptop',
    HOME: 'laptop',
    DB: 'laptop',
    LANG: 'laptop',
    EDITOR: 'laptop',
    GONE: undefined,
  });
  t.deepEqual(
    Object.entries(merged).sort(([left], [right]) => (left < right ? -1 : 1)),
    [
      ['DB', 'container'],
      ['EDITOR', 'laptop'],
      ['HOME', 'laptop'],
      ['LANG', 'container'],
      ['PATH', 'laptop'],
      ['__proto__', 'container'],
    ],
  );
});

test('$(NAME) is expanded as Kubernetes does', (t) => {
  const lookup = (name: string): string | undefined => ({ A: 'a', B: '$(A)' })[name];
  for (const [input, output] of [
    ['$(A)', 'a'],
    ['x$(A)y$(A)', 'xaya'],
    ['$(B)', '$(A)'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$a'],
    ['$$$$(A)', '$$(A)'],
    ['$(C) $A ${A}', '$(C) $A ${A}'],
    ['$(A', '$(A'],
    ['$', '$'],
    ['$$', '$'],
    ['a$b$$c$(', 'a$b$c$('],
    ['$()', '$()'],
  ] as const)
    t.is(expand(input, lookup), output, input);
});

test('quantities', (t) => {
  t.is(parseQuantity('64Mi'), 67_108_864n * 1_000_000_000n);
  t.is(parseQuantity('nonsense'), undefined);
  t.is(parseQuantity(''), undefined);
  for (const [quantity, divisor, cpu, value] of [
    ['1500m', '0', true, '2'],
    ['1500m', '1m', true, '1500'],
    ['0.1', '1m', true, '100'],
    [2, '1', true, '2'],
    ['32Mi', '1M', false, '34'],
    ['1e3', '1', false, '1000'],
    ['1.5Gi', '1Mi', false, '1536'],
    ['0', '1', false, '0'],
  ] as const)
    t.is(divideQuantity(quantity, divisor, cpu), value, `${quantity} / ${divisor}`);
});
