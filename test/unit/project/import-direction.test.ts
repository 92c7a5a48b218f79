import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Lints a copy of the fixture, under the project's own configuration: the project's run leaves fixtures out. */
async function lintFixture(file: string): Promise<{ code: number; output: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'kpeering-lint-'));
  try {
    await cp(join(root, 'test/fixtures/imports'), folder, { recursive: true });
    await cp(join(root, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
    return await new Promise((resolve) => {
      execFile(join(root, 'node_modules/.bin/oxlint'), [file], { cwd: folder }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
      });
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

for (const file of ['src/tunnel/upward.ts', 'src/interceptor/sideways.ts']) {
  test(`the linter refuses an import against the direction: ${file}`, async (t) => {
    const { code, output } = await lintFixture(file);
    t.is(code, 1, output);
    t.regex(output, /no-restricted-imports/);
  });
}

test('the linter takes an import along the direction', async (t) => {
  const { code, output } = await lintFixture('src/kpctl/downward.ts');
  t.is(code, 0, output);
});
