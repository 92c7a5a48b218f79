/**
 * The end-to-end tests, on the cluster that `$KUBECONFIG` names (docs/install.md says what they need):
 *
 *   node test/e2e/main.ts [FILE or pattern]...
 *
 * On a cluster without kpeering: the tests of the installation, then kpeering with the images under test (tag: $KPEERING_E2E_TAG, else dev), all other tests, and its
 * removal, after which the cluster must be as it was. A file that fails is run once more. On a cluster that has kpeering: the other tests, with that one, which is left as it is.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { basename, join } from 'node:path';
import { clusterAccess, clusterObjects, differencesSince, isInstalled, onCluster, underTest } from './installation.ts';
import { root } from './cluster-stage.ts';

const INSTALL_TEST = 'test/e2e/install.test.ts';

/** They stop the API server or the operator, which the others need. */
const stopsParts: ReadonlySet<string> = new Set(['doctor.test.ts', 'operator.test.ts', 'robustness.test.ts']);

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

/**
 * Two files at a time, since they wait for the cluster most of the time; then those that stop a part of the cluster, each alone. One that fails is run
 * once more, alone: on a machine that others use too, a cluster's own delays can be longer than a test's patience. What the first try has said is
 * printed all the same, each line marked, so that nothing is hidden and nothing counts twice.
 */
async function ava(files: readonly string[]): Promise<number> {
  const again: string[] = [];
  const tryFirst = async (file: string): Promise<void> => {
    const { code, output } = await run(file);
    process.stdout.write(code === 0 ? output : `${output.replaceAll(/^/gmu, 'first try | ')}\n`);
    if (code !== 0) again.push(file);
  };
  const together = files.filter((file) => !stopsParts.has(basename(file)));
  const next = async (): Promise<void> => {
    for (let file = together.shift(); file !== undefined; file = together.shift()) await tryFirst(file);
  };
  await Promise.all([next(), next()]);
  for (const file of files.filter((one) => stopsParts.has(basename(one)))) await tryFirst(file);
  let failed = 0;
  for (const file of again) {
    say(`${file} has failed, and is run once more`);
    const { code, output } = await run(file);
    process.stdout.write(output);
    failed = Math.max(failed, code);
  }
  return failed;
}

async function run(file: string): Promise<{ readonly code: number; readonly output: string }> {
  const program = join(root, 'node_modules/ava/entrypoints/cli.js');
  const child = spawn(process.execPath, [program, '--config', 'test/e2e/ava.config.js', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  const chunks: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => chunks.push(text));
  await once(child, 'close');
  return { code: child.exitCode ?? 1, output: chunks.join('') };
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
