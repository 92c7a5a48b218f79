import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { z } from 'zod';
import { run, type Outcome } from '../../../src/kpctl/demo/processes.ts';
import { version } from '../../../src/platform/version.ts';

const checkout = fileURLToPath(new URL('../../../', import.meta.url));
const manifestSchema = z.object({ dependencies: z.record(z.string(), z.string()) });
const packedSchema = z.array(z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) })).length(1);

/** The whole of it is in one temporary folder: a copy of the checkout, the package made of it, and a project that installs the package. */
let folder: string;
let packed: readonly string[];
const installed = (...parts: readonly string[]): string => join(folder, 'elsewhere/node_modules', ...parts);

test.before('npm pack, and npm install of the package somewhere else', async (t) => {
  t.timeout(300_000);
  folder = await mkdtemp(join(tmpdir(), 'kpeering-package-'));
  const copy = join(folder, 'copy');
  const left = new Set(['.git', 'node_modules', 'dist', 'test', 'docs'].map((name) => join(checkout, name)));
  await cp(checkout, copy, { recursive: true, filter: (from) => !left.has(from) });
  await symlink(join(checkout, 'node_modules'), join(copy, 'node_modules'));
  // What an earlier build left, and the images, do not belong to the package.
  await mkdir(join(copy, 'dist/images'), { recursive: true });
  await Promise.all(['dist/stale.js', 'dist/images/kpeering.tar'].map(async (name) => await writeFile(join(copy, name), '')));

  const pack = await program(copy, ['npm', 'pack', '--json', '--pack-destination', folder]);
  t.is(pack.code, 0, pack.stderr);
  const [tarball] = packedSchema.parse(JSON.parse(pack.stdout.slice(pack.stdout.indexOf('[\n'))));
  packed = (tarball?.files ?? []).map(({ path }) => path);

  const elsewhere = join(folder, 'elsewhere');
  await mkdir(elsewhere);
  await writeFile(join(elsewhere, 'package.json'), '{ "name": "elsewhere", "private": true }');
  const install = await program(elsewhere, [
    'npm',
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    join(folder, tarball?.filename ?? ''),
  ]);
  t.is(install.code, 0, install.stderr);
});
test.after.always(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** Of the tests' own Node, at the home and the caches of whoever runs them. */
async function program(cwd: string, argv: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const path = [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter);
  // What `npm test` tells its scripts would tell npm here.
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_'));
  return await run(['sh', '-c', 'cd "$0" && exec "$@"', cwd, ...argv], { ...Object.fromEntries(own), PATH: path, ...environment });
}

const kpctl = async (argv: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> =>
  await program(folder, [installed('.bin/kpctl'), ...argv], { XDG_CACHE_HOME: join(folder, 'cache'), ...environment });

test('the package has the programs, the rules, the manifests and what they are described in, and nothing else', (t) => {
  for (const path of [
    'bin/kpctl.js',
    'bin/supervise.sh',
    'dist/kpctl/main.js',
    'dist/kpctl/help/topics/run.md',
    'man/kpctl.1',
    'dist/kpeering/main.js',
    'init-container/redirect.sh',
    'LICENSE',
    'README.md',
  ])
    t.true(packed.includes(path), path);
  t.deepEqual([...new Set(packed.map((path) => path.replace(/\/.*/u, '')))].sort(), [
    'LICENSE',
    'README.md',
    'bin',
    'deploy',
    'dist',
    'init-container',
    'man',
    'package.json',
  ]);
  t.deepEqual(
    packed.filter((path) => /\.(?:ts|map|tar)$|tsconfig|Dockerfile|stale\./u.test(path)),
    [],
  );
});

test('kpctl and kpeering run from it, with the production dependencies only', async (t) => {
  t.is((await kpctl(['version', '-o', 'json'])).code, 0);
  t.true((await kpctl(['version'])).stdout.includes(version));
  const help = await kpctl(['--help']);
  t.is(help.code, 0, help.stderr);
  t.regex(help.stdout, /intercept/u);
  const kpeering = await program(folder, [installed('.bin/kpeering'), '--version']);
  t.is(kpeering.stdout, `${version}\n`, kpeering.stderr);
  const there = await readdir(installed());
  for (const development of ['typescript', 'ava', 'oxlint', 'node']) t.false(there.includes(development), development);
});

test('kpctl reads a kubeconfig and talks to its API server: one that cannot be reached is said so', async (t) => {
  const kubeconfig = join(folder, 'config');
  await writeFile(
    kubeconfig,
    `
apiVersion: v1
kind: Config
current-context: far
clusters: [{ name: far, cluster: { server: "https://127.0.0.1:9", insecure-skip-tls-verify: true } }]
users: [{ name: me, user: { token: t } }]
contexts: [{ name: far, context: { cluster: far, user: me } }]
`,
  );
  const { code, stderr } = await kpctl(['list'], { KUBECONFIG: kubeconfig });
  t.is(code, 1);
  t.regex(stderr, /\[API_UNREACHABLE\]$/mu);
});

test('what it imports is its own, a dependency or of Node, and no path of the machine that built it is in it', async (t) => {
  const { dependencies } = manifestSchema.parse(JSON.parse(await readFile(installed('kpeering/package.json'), 'utf8')));
  const texts = await Promise.all(
    packed.filter((path) => path.endsWith('.js')).map(async (path) => [path, await readFile(installed('kpeering', path), 'utf8')] as const),
  );
  t.true(texts.length > 100);
  for (const [path, text] of texts) {
    for (const [, statically, dynamically] of text.matchAll(
      /^(?:import|export)\b(?:[^'"]*?\bfrom)? ['"]([^'"]+)['"]|\bimport\(['"]([^'"]+)['"]\)/gmu,
    )) {
      const name = statically ?? dynamically ?? '';
      if (name.startsWith('.') || isBuiltin(name)) continue;
      const owner = name
        .split('/')
        .slice(0, name.startsWith('@') ? 2 : 1)
        .join('/');
      t.true(Object.hasOwn(dependencies, owner), `${path} imports ${name}`);
    }
    t.false(text.includes(checkout) || text.includes(folder), path);
  }
});
