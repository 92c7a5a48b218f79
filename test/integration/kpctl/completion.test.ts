import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requireProgram } from '../../../src/platform/programs.ts';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment, service } from './manifests.ts';
import { Stage } from './stage.ts';

const kpctl = fileURLToPath(new URL('../../../bin/kpctl.js', import.meta.url));

const test = await labSuite(import.meta.filename, async () => await Stage.open(deployment({ name: 'web' }) + service('web')));

/** What kpctl offers at the end of these words. */
async function offered(stage: Stage, ...words: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await stage.kpctl(['__complete', 'words', ...words]);
  assert.deepEqual([code, stderr], [0, '']);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/\t.*/, ''));
}

/** The same, asked again when the machine was too busy for the deadline. */
async function fromCluster(stage: Stage, ...words: string[]): Promise<string[]> {
  for (let tries = 0; tries < 5; tries += 1) {
    const found = await offered(stage, ...words);
    if (found.length > 0) return found.toSorted();
  }
  return [];
}

/** A folder with a `kpctl` in it. */
function withKpctl(stage: Stage): string {
  const folder = stage.folder();
  writeFileSync(join(folder, 'kpctl'), `#!/bin/sh\nexec '${process.execPath}' '${kpctl}' "$@"\n`);
  chmodSync(join(folder, 'kpctl'), 0o755);
  return folder;
}

/**
 * Types at an interactive shell on a terminal: the line, Tab, then "echo " at its front and Return. Answers what the shell then echoes: the line as it was
 * completed.
 */
async function typed(stage: Stage, shell: readonly string[], sourcing: string, line: string): Promise<string> {
  const words = [...stage.lab.laptop.prefix, requireProgram('script', 'bsdutils'), '-qec', shell.join(' '), '/dev/null'];
  const environment = {
    ...stage.environment,
    PATH: `${withKpctl(stage)}:${process.env['PATH']}`,
    PS1: 'ready> ',
    PROMPT: 'ready> ',
    TERM: 'xterm',
  };
  const child = spawn(words[0] ?? '', words.slice(1), { env: environment });
  let output = '';
  const says = async (text: RegExp): Promise<string> => {
    while (!text.test(stripped(output))) await new Promise((resolve) => child.stdout.once('data', resolve));
    return text.exec(stripped(output))?.[1] ?? '';
  };
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise((resolve) => child.once('close', resolve));
  try {
    await says(/ready> /);
    child.stdin.write(`${sourcing}; echo sour''ced\r`);
    await says(/sourced[^]*ready> /);
    const before = output.length;
    child.stdin.write(`${line}\t`);
    // The shell has completed when it has written more than what was typed. Tab again, where the machine was too busy for the deadline.
    const again = setInterval(() => child.stdin.write('\t'), 8_000);
    while (stripped(output.slice(before)).length <= line.length) await new Promise((resolve) => child.stdout.once('data', resolve));
    clearInterval(again);
    child.stdin.write("\u0001echo '=>' \r");
    return (await says(/\n=> ([^\n]*)\n/)).trim();
  } finally {
    child.stdin.end('exit\r');
    await ended;
  }
}

/** Without the terminal's control sequences, and without bells. */
function stripped(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/\u001b\[[^a-zA-Z]*[a-zA-Z]|\u001b[=>]|[\u0007\r]/g, '');
}

test('commands, options and the values of options', async (stage) => {
  assert.deepEqual(await offered(stage, 'st'), ['status']);
  assert.deepEqual(await offered(stage, 'list', '--cont'), ['--context']);
  assert.deepEqual(await offered(stage, 'run', '--mode', ''), ['auto', 'network', 'proxy']);
  assert.deepEqual(await offered(stage, 'list', '-o', 'j'), ['json']);
  assert.deepEqual(await offered(stage, 'list', '--output=y'), ['--output=yaml']);
  assert.deepEqual(await offered(stage, 'list', '-o', 'json', '--outp'), []);
  assert.ok((await offered(stage, 'help', '')).includes('proxy-mode'));
  assert.deepEqual(await offered(stage, 'completion', ''), ['bash', 'zsh', 'fish']);
  assert.deepEqual(await offered(stage, 'install', '--kubeconfig', ''), [':files']);
  assert.deepEqual(await offered(stage, 'run', '-w', 'web', '--', 'git', 'che'), [':command 4']);
});

test('workloads, namespaces, contexts, containers, ports and Services come from the cluster', async (stage) => {
  await stage.lab.createNamespace('shop');
  await stage.lab.apply(deployment({ name: 'till' }), 'shop');
  await stage.lab.settled();
  assert.deepEqual(await fromCluster(stage, 'intercept', 'deployment/'), ['deployment/caller', 'deployment/web']);
  assert.deepEqual(await fromCluster(stage, 'intercept', '-n', 'shop', 'deployment/'), ['deployment/till']);
  assert.ok((await fromCluster(stage, 'list', '-n', 'sh')).includes('shop'));
  assert.equal((await fromCluster(stage, 'list', '--context', '')).length, 1);
  assert.deepEqual(await fromCluster(stage, 'env', 'web', '-c', ''), ['web']);
  assert.deepEqual(await fromCluster(stage, 'intercept', 'deployment/web', '--port', '3000:ht'), ['3000:http']);
  assert.deepEqual(await fromCluster(stage, 'run', '-w', 'web', '--port', '80'), ['8080']);
  assert.deepEqual(await fromCluster(stage, 'intercept', 'web', '--outbound', '5000:we'), ['5000:web:80', '5000:web:81']);
});

test('a cluster that cannot be reached or asked is silent, and fast', async (stage) => {
  const began = performance.now();
  assert.deepEqual(await offered(stage, 'list', '--kubeconfig', '/no/such', '-n', ''), []);
  assert.deepEqual(await offered(stage, 'list', '--context', 'no-such', '-n', ''), []);
  assert.ok(performance.now() - began < 20_000);
});

test('bash completes, also behind a colon', async (stage) => {
  const bash = ['bash', '--norc', '-i'];
  const source = 'source <(kpctl completion bash)';
  assert.equal(await typed(stage, bash, source, 'kpctl vers'), 'kpctl version');
  assert.equal(await typed(stage, bash, source, 'kpctl intercept deployment/we'), 'kpctl intercept deployment/web');
  assert.equal(await typed(stage, bash, source, 'kpctl intercept web --port 3000:ht'), 'kpctl intercept web --port 3000:http');
  assert.equal(await typed(stage, bash, source, 'kpctl list --output=js'), 'kpctl list --output=json');
});

test('zsh completes', async (stage) => {
  const zsh = ['zsh', '-f', '-i'];
  const source = 'bindkey -e; autoload -Uz compinit; compinit -u -D; source <(kpctl completion zsh)';
  assert.equal(await typed(stage, zsh, source, 'kpctl vers'), 'kpctl version');
  assert.equal(await typed(stage, zsh, source, 'kpctl intercept deployment/we'), 'kpctl intercept deployment/web');
  assert.equal(await typed(stage, zsh, source, 'kpctl intercept web --port 3000:ht'), 'kpctl intercept web --port 3000:http');
});

test('fish completes', async (stage) => {
  const once = async (line: string): Promise<string> => {
    const script = `kpctl completion fish | source; complete -C '${line}'`;
    const { stdout } = await stage.laptop.attempt('env', [
      ...Object.entries(stage.environment).map(([name, value]) => `${name}=${value}`),
      `PATH=${withKpctl(stage)}:${process.env['PATH']}`,
      'fish',
      '--no-config',
      '-c',
      script,
    ]);
    return stdout.replaceAll(/\t.*/g, '').trim();
  };
  // Asked again when the machine was too busy for the deadline.
  const fish = async (line: string): Promise<string> => {
    let found = '';
    for (let tries = 0; tries < 5 && found === ''; tries += 1) found = await once(line);
    return found;
  };
  assert.equal(await fish('kpctl vers'), 'version');
  assert.equal(await fish('kpctl intercept deployment/we'), 'deployment/web');
  assert.equal(await fish('kpctl intercept web --port 3000:ht'), '3000:http');
  assert.match(await fish('kpctl install --kubeconfig /etc/host'), /^\/etc\/host/m);
});
