import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { version } from '../../../src/platform/version.ts';
import { checkout, Images, type Image } from './image.ts';

let images: Images;
let kpeering: Image;
let init: Image;

test.before('scripts/images builds both', async (t) => {
  t.timeout(300_000);
  images = await Images.build('--tag', 'one', '--tag', 'two', '--registry', 'registry.test/team', 'kpeering', 'init');
  t.is(images.outcome.code, 0, images.outcome.stderr);
  kpeering = await images.open('kpeering');
  init = await images.open('init');
});
test.after.always(async () => await images?.[Symbol.asyncDispose]());

const nodePath = '/usr/bin/node';
const kpeeringPath = '/opt/kpeering/bin/kpeering.js';

test('their compressed sizes are printed and below their goals', (t) => {
  for (const [name, most] of [
    ['kpeering', 75],
    ['init', 12],
  ] as const) {
    const line = new RegExp(`^images: registry\\.test/team/kpeering/${name}:one ([\\d.]+) MiB compressed, goal ${most} `, 'mu');
    const [, size] = line.exec(images.outcome.stderr) ?? [];
    t.true(Number(size) > 1 && Number(size) <= most, images.outcome.stderr);
  }
});

test('they carry their names, labels, users and entry points, the same as from the Dockerfiles', (t) => {
  for (const [image, name, file] of [
    [kpeering, 'kpeering', 'Dockerfile'],
    [init, 'init', 'init-container/Dockerfile'],
  ] as const) {
    t.deepEqual(image.names, [`registry.test/team/kpeering/${name}:one`, `registry.test/team/kpeering/${name}:two`]);
    const { User, Entrypoint, Labels } = image.config.config;
    const last = readFileSync(join(checkout, file), 'utf8').split('\nFROM ').at(-1) ?? '';
    t.is(User, /^USER (.*)$/mu.exec(last)?.[1]);
    t.deepEqual(Entrypoint, z.array(z.string()).parse(JSON.parse(/^ENTRYPOINT (.*)$/mu.exec(last)?.[1] ?? '')));
    t.is(Labels['org.opencontainers.image.version'], version);
    t.is(Labels['org.opencontainers.image.licenses'], 'Apache-2.0');
    t.regex(Labels['org.opencontainers.image.created'] ?? '', /^\d{4}-\d\d-\d\dT/u);
    t.truthy(Labels['org.opencontainers.image.title']);
    t.is(image.config.os, 'linux');
  }
});

test('nobody but root may write to what they hold, save /tmp; nothing is setuid or a device', async (t) => {
  for (const image of [kpeering, init]) {
    const files = await image.files();
    t.deepEqual(
      files.filter(({ kind, mode }) => kind !== 'link' && (mode & 0o022) !== 0).map(({ path, mode }) => [path, mode]),
      [['/tmp', 0o1777]],
    );
    t.deepEqual(
      files.filter(({ kind, mode }) => kind === 'other' || (kind === 'file' && (mode & 0o6000) !== 0)),
      [],
    );
    t.deepEqual(
      files.filter(({ mode, kind }) => kind !== 'link' && (mode & 0o444) !== 0o444),
      [],
      'everybody may read all of it',
    );
  }
});

test('kpeering has the compiled program and nothing that is not run', async (t) => {
  const paths = (await kpeering.files()).map(({ path }) => path);
  const unwanted = /\.(?:map|md|tsx?|cts|mts|tsbuildinfo)$|\/(?:npm|npx|corepack)$|\.test\.|\/kpctl(?:\/|\.js$)|\/dist\/lab\/|musl/u;
  t.deepEqual(
    paths.filter((path) => unwanted.test(path) && !/\/licen[cs]e[^/]*$/iu.test(path)),
    [],
  );
  t.true(paths.includes('/opt/kpeering/dist/kpeering/main.js'));
  t.deepEqual(
    paths.filter((path) => /^\/opt\/kpeering\/[^/]+$/u.test(path)).sort(),
    ['LICENSE', 'bin', 'dist', 'node_modules', 'package.json'].map((name) => `/opt/kpeering/${name}`),
  );
  t.deepEqual((await readdir(join(kpeering.root, 'bin'))).sort(), ['busybox', 'sh', 'sleep']);
});

const lockSchema = z.object({ packages: z.record(z.string(), z.object({ dev: z.boolean().optional() })) });

test('its packages are production dependencies, each with its licence where it ships one', async (t) => {
  const lock = lockSchema.parse(JSON.parse(await readFile(join(checkout, 'package-lock.json'), 'utf8')));
  const paths = new Set((await kpeering.files()).map(({ path }) => path));
  const packages = [...paths].flatMap(
    (path) => /^\/opt\/kpeering\/((?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/@]+)\/package\.json$/u.exec(path)?.[1] ?? [],
  );
  t.true(packages.includes('node_modules/zod'));
  for (const folder of packages) {
    t.is(lock.packages[folder]?.dev, undefined, `${folder} is a production dependency`);
    const licences = (await readdir(join(checkout, folder))).filter((name) => /^licen[cs]e/iu.test(name));
    for (const licence of licences) t.true(paths.has(`/opt/kpeering/${folder}/${licence}`), `${folder}/${licence}`);
  }
});

test("every program and library finds the libraries that it loads in the image's own folders", async (t) => {
  for (const image of [kpeering, init]) {
    const files = (await image.files()).filter(({ kind }) => kind === 'file').map(({ path }) => path);
    const loader = files.find((path) => /\/ld-linux[^/]*\.so\.\d$/u.test(path)) ?? t.fail('no loader');
    const dynamic = files.filter((path) => isDynamic(join(image.root, path)));
    t.true(dynamic.length > 10, `${dynamic.length} to look at`);
    const each = 'loader=$1; shift; for file in "$@"; do said=$("$loader" --list "$file" 2>&1) || echo "$file: $said"; done';
    const { code, stdout, stderr } = await image.run(['/bin/sh', '-c', each, 'sh', loader, ...dynamic]);
    t.deepEqual([code, stdout, stderr], [0, '', '']);
  }
});

/** A 64-bit ELF file, little-endian, with a dynamic section (elf(5): PT_DYNAMIC is 2). */
function isDynamic(path: string): boolean {
  const bytes = readFileSync(path);
  if (bytes.length < 64 || bytes.toString('latin1', 0, 4) !== '\u007FELF') return false;
  const [offset, size, count] = [Number(bytes.readBigUInt64LE(32)), bytes.readUInt16LE(54), bytes.readUInt16LE(56)];
  return Array.from({ length: count }, (_, index) => bytes.readUInt32LE(offset + index * size)).includes(2);
}

test('kpeering runs as an ordinary user on a root that cannot be written, by its entry point and without any shell', async (t) => {
  t.is((await kpeering.run([nodePath, '--version'])).stdout.trim(), process.version);
  const byEntryPoint = await kpeering.run([...kpeering.config.config.Entrypoint, '--version']);
  t.is(byEntryPoint.stdout.trim(), version, byEntryPoint.stderr);
  const withoutShell = await kpeering.run([nodePath, kpeeringPath, '--version'], ['/bin']);
  t.is(withoutShell.stdout.trim(), version, withoutShell.stderr);
  const ids = await kpeering.run([nodePath, '-p', '[process.getuid(), process.getgid()].join()']);
  t.is(ids.stdout.trim(), '15300,15300');
  const write = await kpeering.run([nodePath, '-e', 'require("node:fs").writeFileSync("/opt/kpeering/x", "")']);
  t.regex(write.stderr, /EROFS/u);
  t.is((await kpeering.run(['/usr/sbin/nft', '--version'])).code, 0);
});

test('every module of the compiled program loads in the image', async (t) => {
  const program = `
    const modules = require("node:fs").readdirSync("/opt/kpeering/dist", { recursive: true }).filter((name) => name.endsWith(".js") && !name.endsWith("main.js"));
    (async () => {
      for (const name of modules) await import("/opt/kpeering/dist/" + name).catch((error) => console.log(name + ": " + error.message));
      console.log(modules.length + " loaded");
      process.exit();
    })();`;
  const { stdout, stderr } = await kpeering.run([nodePath, '-e', program]);
  t.regex(stdout, /^\d\d+ loaded\n$/u, stderr);
});

test("init has every program that its scripts call, and they run without Node or the host's libraries", async (t) => {
  await assertRuns(t, ['/redirect.sh', '--help'], /usage|redirect\.sh/iu);
  for (const family of ['', '-nft', '-legacy'])
    for (const name of [`iptables${family}`, `ip6tables${family}`])
      await assertRuns(t, [`/usr/sbin/${name}`, '--version'], /^ip6?tables v/u);
  await assertRuns(t, ['/usr/sbin/nft', '--version'], /^nftables v/u);
  await assertRuns(t, ['/usr/sbin/ip', '-V'], /^ip utility/u);
  const paths = (await init.files()).map(({ path }) => path);
  t.true(
    paths.some((path) => path.endsWith('/xtables/libxt_REDIRECT.so')) || paths.some((path) => path.endsWith('/xtables/libipt_REDIRECT.so')),
  );
  t.deepEqual(
    paths.filter((path) => /node/u.test(path)),
    [],
  );
});

async function assertRuns(t: ExecutionContext, argv: readonly string[], says: RegExp): Promise<void> {
  const { stdout, stderr } = await init.run(argv);
  t.regex(stdout + stderr, says, argv.join(' '));
}

test('the same checkout makes the same archive', async (t) => {
  await using again = await Images.build('--tag', 'one', '--tag', 'two', '--registry', 'registry.test/team', 'init');
  t.is(again.outcome.code, 0, again.outcome.stderr);
  t.true((await readFile(again.archive('init'))).equals(await readFile(images.archive('init'))));
});

test('an unknown option, image or platform is refused, and nothing is built', async (t) => {
  for (const [options, code, says] of [
    [['--bogus', 'x'], 2, /images \[OPTION\]/u],
    [['bogus'], 2, /images \[OPTION\]/u],
    [['--platform', 'linux/s390x'], 1, /only linux\/\w+ can be built; for linux\/s390x: --builder docker, podman or buildah/u],
  ] as const) {
    await using refused = await Images.build(...options);
    t.is(refused.outcome.code, code);
    t.regex(refused.outcome.stderr, says);
    t.deepEqual(await readdir(refused.folder), []);
  }
});
