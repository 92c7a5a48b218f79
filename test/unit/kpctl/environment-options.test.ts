import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { environmentOverrides, parseAssignment } from '../../../src/kpctl/environment-options.ts';

test('files are read as dotenv, in their order', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kp-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'variables');
  writeFileSync(path, '# comment\nexport ONE=\'a # b\'\nTWO="two\nlines" # comment\nEMPTY=\n');
  const { files } = environmentOverrides({ envFile: [path, path], env: [], unset: [] });
  t.is(files.length, 2);
  t.deepEqual(Object.fromEntries(files[0] ?? []), { ONE: 'a # b', TWO: 'two\nlines', EMPTY: '' });
});

test('a file that cannot be read is named, with exit code 2', (t) => {
  const error = t.throws(() => environmentOverrides({ envFile: ['/none'], env: [], unset: [] }), { code: 'ENV_FILE_UNREADABLE' });
  t.like(error, { exitCode: 2, message: 'the file /none cannot be read: ENOENT' });
});

test('an assignment is split at its first =, and may be empty', (t) => {
  t.deepEqual(parseAssignment('URL=http://x/?a=b', [['A', '']]), [
    ['A', ''],
    ['URL', 'http://x/?a=b'],
  ]);
  t.deepEqual(parseAssignment('EMPTY='), [['EMPTY', '']]);
  for (const text of ['NAME', '=value']) t.throws(() => parseAssignment(text), { message: /expected NAME=VALUE/ });
});
