/**
 * The end-to-end tests, on the cluster that `$KUBECONFIG` names (docs/install.md says what they need):
 *
 *   node test/e2e/main.ts [FILE or pattern]...
 *
 * On a cluster without kpeering: the tests of the installation, then kpeering with the images under test (tag: $KPEERING_E2E_TAG, else dev), all other tests, and its
 * removal, after which the cluster must be as it was. On a cluster that has kpeering: the other tests, with that one, which is left as it is.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { basename, join } from 'node:path';
import { clusterAccess, clusterObjects, differencesSince, isInstalled, onCluster, underTest } from './installation.ts';
import { root } from './cluster-stage.ts';

const INSTALL_TEST = 'test/e2e/install.test.ts';

async function main(patterns: readonly string[]): Promise<number> {
  if (process.env['KUBECONFIG'] === undefined) throw new Error('the end-to-end tests need $KUBECONFIG');
  process.chdir(root);
  const all = globSync('test/e2e/**/*.test.ts').toSorted();
  const chosen = patterns.length === 0 ? all : all.filter((file) => patterns.some((pattern) => fits(file, pattern)));
  if (chosen.length === 0) throw new Error(`no test file fits ${patterns.join(' ')}`);
  const others = chosen.filter((file) => file !== INSTALL_TEST);
  const access = clusterAccess();
  if (await isInstalled(access)) {
    say('kpeering is installed in this cluster: it is used as it is, and the tests of the installation are left out');
    return await ava(others);
  }
  let failed = 0;
  if (chosen.includes(INSTALL_TEST)) failed = Math.max(failed, await ava([INSTALL_TEST]));
  if (others.length === 0) return failed;
  const before = await clusterObjects(access);
  if (!(await step('kpctl install', ['install', ...underTest]))) return 1;
  failed = Math.max(failed, await ava(others));
  if (!(await step('kpctl uninstall', ['uninstall', '--yes']))) return 1;
  const left = await differencesSince(access, before);
  for (const line of left) say(`    ${line}`);
  tell(left.length === 0, 'after kpctl uninstall the cluster is as it was before');
  return left.length === 0 ? failed : 1;
}

/** A path, a part of one, or a glob. */
function fits(file: string, pattern: string): boolean {
  return file === pattern || join(root, file) === pattern || basename(file).includes(pattern) || globSync(pattern).includes(file);
}

async function ava(files: readonly string[]): Promise<number> {
  if (files.length === 0) return 0;
  const program = join(root, 'node_modules/ava/entrypoints/cli.js');
  const child = spawn(process.execPath, [program, '--config', 'test/e2e/ava.config.js', ...files], { stdio: 'inherit' });
  await once(child, 'exit');
  return child.exitCode ?? 1;
}

async function step(name: string, argv: readonly string[]): Promise<boolean> {
  const outcome = await onCluster(clusterAccess(), process.execPath, join(root, 'bin/kpctl.js'), ...argv);
  if (outcome.code !== 0) say(`${outcome.stderr}${outcome.stdout}`);
  tell(outcome.code === 0, name);
  return outcome.code === 0;
}

/** As ava tells of a test. */
function tell(good: boolean, what: string): void {
  say(good ? `  ✔ ${what}` : `  ✘ [fail]: ${what}\n\n  1 test failed`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2));
