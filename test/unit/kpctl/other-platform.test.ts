import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { run } from '../../../src/kpctl/demo/processes.ts';
import { commandNames } from '../../../src/kpctl/program.ts';

const hook = new URL('../../harness/other-platform.ts', import.meta.url).href;
const kpctl = fileURLToPath(new URL('../../../bin/kpctl.js', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'kpeering-test-'));
test.after.always(() => rmSync(folder, { recursive: true }));

/** kpctl where nothing of Linux is to be had. */
async function elsewhere(...words: string[]) {
  const environment = { PATH: process.env['PATH'], HOME: folder, XDG_RUNTIME_DIR: folder, KUBECONFIG: join(folder, 'none') };
  return await run([process.execPath, '--disable-warning=ExperimentalWarning', '--import', hook, kpctl, ...words], environment);
}

test('kpctl starts on macOS: nothing that is only on Linux is imported for any command', async (t) => {
  t.timeout(120_000);
  // The help of all loads all.
  const { code, stdout, stderr } = await elsewhere('--help');
  t.deepEqual([code, stderr], [0, '']);
  for (const name of commandNames.filter((one) => one !== '__complete')) t.regex(stdout, new RegExp(`^  ${name}\\b`, 'm'));
});

test('version, completion and the topics work there', async (t) => {
  t.timeout(120_000);
  t.regex((await elsewhere('version')).stdout, /darwin/);
  for (const words of [['completion', 'zsh'], ['help', 'proxy-mode'], ['__complete', 'words', 'st'], ['status']]) {
    const { code, stderr } = await elsewhere(...words);
    t.deepEqual([code, stderr], [0, ''], words.join(' '));
  }
});

test('what needs Linux says so, and names the other way', async (t) => {
  t.timeout(120_000);
  for (const [words, exitCode] of [
    [['run', '--mode', 'network', '--', 'true'], 125],
    [['demo'], 1],
    [['up'], 1],
    [['down'], 1],
  ] as const) {
    const { code, stderr } = await elsewhere(...words);
    t.regex(stderr, /^kpctl: .* needs Linux, and this is darwin.* \[PLATFORM_UNSUPPORTED\]\n$/, words.join(' '));
    t.is(code, exitCode);
  }
});

test('run is by the proxy there, and says so before anything else', async (t) => {
  const { code, stderr } = await elsewhere('run', '--', 'true');
  t.regex(stderr, /^kpctl: this is darwin, so that --mode is proxy: .*\nkpctl: .*\[KUBECONFIG_[A-Z]+\]\n$/);
  t.is(code, 125);
});
