import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Codes that the source gives to Failures: `new Failure('CODE'`, `super('CODE'`, and the constants of Failures made elsewhere. */
function codesInSource(): string[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const codes = files.flatMap((name) => {
    const text = readFileSync(join(root, 'src', name), 'utf8');
    return [...text.matchAll(/(?:new Failure|super|new UnreadableError|invalid|unreadable)\(\s*'([A-Z]+(?:_[A-Z]+)+)'/g)].map(
      (match) => match[1] ?? '',
    );
  });
  return [...new Set(codes)].sort();
}

function documentedCodes(): string[] {
  return [...readFileSync(join(root, 'docs/errors.md'), 'utf8').matchAll(/^\| `([A-Z_]+)`/gm)].map((match) => match[1] ?? '');
}

test('docs/errors.md lists every code of a Failure', (t) => {
  const documented = new Set(documentedCodes());
  const codes = codesInSource();
  t.true(codes.length > 40, 'the search for codes in the source finds them');
  t.deepEqual(
    codes.filter((code) => !documented.has(code)),
    [],
  );
});

test('docs/errors.md lists no code that the source does not know', (t) => {
  const source = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(root, 'src', name), 'utf8'))
    .join('\n');
  t.deepEqual(
    documentedCodes().filter((code) => !source.includes(`'${code}'`) && !source.includes(`[${code}]`)),
    [],
  );
});
