import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Contents } from '../../../../src/kpctl/gather/contents.ts';
import { gather, writeArchive } from '../../../../src/kpctl/gather/index.ts';
import { tarOf } from '../../../../src/kpctl/gather/tar.ts';
import { Failure } from '../../../../src/platform/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'kpctl-gather-'));
test.after.always(() => rmSync(folder, { recursive: true }));

test('every tar reads the archive, long and strange names too', (t) => {
  const long = `logs/${'n'.repeat(253)}/${'p'.repeat(253)}/${'c'.repeat(63)}.log`;
  const files = [
    { path: 'a.txt', content: '' },
    { path: 'b/ü.txt', content: 'grüße\n' },
    { path: '../../escape', content: 'inside' },
    { path: long, content: 'x'.repeat(512) },
    { path: long, content: 'y'.repeat(513) },
  ];
  const path = join(folder, 'plain.tar');
  writeFileSync(path, tarOf(files, new Date('2026-01-02T03:04:05Z')));
  const names = execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).trim().split('\n');
  t.is(names.length, 5);
  t.is(new Set(names).size, 5, 'none hides another');
  t.true(
    names.every((name) => !name.startsWith('/') && !name.includes('..')),
    names.join('\n'),
  );
  const out = mkdtempSync(join(folder, 'out-'));
  execFileSync('tar', ['-xf', path, '-C', out]);
  t.deepEqual(
    names.map((name) => readFileSync(join(out, name), 'utf8')),
    files.map(({ content }) => content),
  );
  t.is(statSync(join(out, 'a.txt')).mtime.toISOString(), '2026-01-02T03:04:05.000Z');
});

test('the archive is for its owner only, and overwrites nothing', async (t) => {
  const path = join(folder, 'kpeering.tar.gz');
  await writeArchive(path, [{ path: 'README.txt', content: 'hello' }]);
  t.is(statSync(path).mode & 0o777, 0o600);
  t.is(execFileSync('tar', ['-xzOf', path, 'kpeering/README.txt'], { encoding: 'utf8' }), 'hello');
  await t.throwsAsync(writeArchive(path, []), { code: 'FILE_EXISTS' });
  await t.throwsAsync(writeArchive(join(folder, 'no/such/folder.tar.gz'), []), { code: 'FILE_NOT_WRITTEN' });
});

test('what would make the archive too large is left out, and that is said', (t) => {
  const contents = new Contents(10);
  contents.text('a', '12345');
  contents.text('b', '123456');
  contents.text('c', '12345');
  t.deepEqual(
    contents.files.map(({ path }) => path),
    ['a', 'c'],
  );
  t.is(contents.missing.length, 1);
});

test('without a cluster there is an archive of what this machine knows', async (t) => {
  const { files, missing } = await gather({
    open: () => Promise.reject(new Failure('KUBECONFIG_MISSING', 'there is no kubeconfig')),
    namespaces: [],
    onStep: () => undefined,
  });
  t.deepEqual(
    files.map(({ path }) => path),
    ['README.txt', 'doctor.json', 'doctor.txt', 'versions.json', 'laptop/status.json'],
  );
  t.deepEqual(missing, ['everything of the cluster: there is no kubeconfig [KUBECONFIG_MISSING]']);
  t.regex(files[0]?.content ?? '', /Not in it:\n {2}everything of the cluster/);
});
