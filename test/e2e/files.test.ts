import { readFileSync } from 'node:fs';
import test from 'ava';
import { z } from 'zod';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, type ClusterStage, type LaptopStage } from './cluster-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';
import { staticBusybox } from './static-program.ts';

let stage: ClusterStage;

test.before(async (t) => {
  stage = await openClusterStage('files', ['test/e2e/files.yaml'], (line) => t.log(line));
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

const places = [
  '/etc/filed',
  '/opt/filed/items',
  '/filed-secret',
  '/etc/filed-one.conf',
  '/filed-scratch',
  '/filed-scratch-part',
  '/filed-all',
  '/filed-absent',
  '/var/run/secrets/kubernetes.io/serviceaccount',
];

/** Prints each file and folder with its mode and its text; a token's text and what the pod's own user may not read is left out. */
const list = `
  const fs = require('node:fs'), { join } = require('node:path'), found = {};
  const look = (path) => {
    const stat = fs.statSync(path), mode = (stat.mode & 0o7777).toString(8);
    if (!stat.isDirectory()) {
      let text = '';
      try { text = fs.readFileSync(path, 'base64'); } catch {}
      found[path] = mode + ' ' + (/tokens?\\b/.test(path) ? text !== '' : text);
      return;
    }
    found[path] = mode + ' folder';
    for (const name of fs.readdirSync(path)) if (!name.startsWith('..')) look(join(path, name));
  };
  for (const path of process.argv.slice(1)) look(path);
  console.log(JSON.stringify(found));`;

function files(json: string): Record<string, string> {
  return z.record(z.string(), z.string()).parse(JSON.parse(json));
}

async function runFiled(user: LaptopStage, ...command: string[]): Promise<string> {
  const outcome = await onLaptop(user, kpctl(user, 'run', '-w', 'filed', '--files', '--', ...command));
  if (outcome.code !== 0) throw new Error(outcome.stderr);
  return outcome.stdout;
}

test('the files are those of the container, with their modes, as root and as an ordinary user', async (t) => {
  const real = files(await stage.kubectlOut('exec', 'deploy/filed', '-c', 'app', '--', '/usr/bin/node', '-e', list, ...places));
  for (const user of [stage, stage.asOrdinaryUser()]) {
    const imitated = files(await runFiled(user, user.node, '-e', list, ...places));
    t.deepEqual(Object.keys(imitated), Object.keys(real));
    for (const [path, file] of Object.entries(real)) {
      // The pod's user is not root: what it may not read is compared by its mode.
      if (file.endsWith(' ')) t.is(imitated[path]?.slice(0, file.length), file);
      else t.is(imitated[path], file, path);
    }
    t.is(imitated['/filed-secret/password'], `400 ${Buffer.from('s3cret $x').toString('base64')}`);
  }
});

test('a client that takes itself for a pod is the service account, also a static one, and COMMAND has no capability', async (t) => {
  const user = stage.asOrdinaryUser();
  const service = '/var/run/secrets/kubernetes.io/serviceaccount';
  const script = [
    'kubectl get pods -o name',
    'kubectl auth whoami -o jsonpath={.status.userInfo.username}; echo',
    'kubectl get secrets 2>&1 | head -1',
    `${staticBusybox()} cat ${service}/namespace; echo`,
    'grep ^Cap /proc/self/status',
    'echo "${KUBECONFIG-none}"',
  ].join('\n');
  const lines = (await runFiled(user, 'sh', '-ec', script)).split('\n');
  t.regex(lines[0] ?? '', /^pod\/filed-/);
  t.is(lines[1], `system:serviceaccount:${stage.namespace}:reader`);
  t.regex(lines[2] ?? '', /forbidden/);
  t.is(lines[3], stage.namespace);
  t.deepEqual(
    lines.slice(4, 9),
    ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t${'0'.repeat(16)}`),
  );
  t.is(lines[9], 'none');
});

test('a token has its audience and lifetime, and the API server takes it', async (t) => {
  const text = await runFiled(stage, 'cat', '/filed-all/tokens/vault');
  const claims = z
    .object({ aud: z.array(z.string()), exp: z.number(), iat: z.number() })
    .parse(JSON.parse(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString()));
  t.deepEqual(claims.aud, ['vault']);
  t.is(claims.exp - claims.iat, 900);
});

test('a ConfigMap that changes is new for COMMAND all at once; a subPath stays', async (t) => {
  const program = `
    const fs = require('node:fs');
    const read = (path) => fs.readFileSync(path, 'utf8').trim();
    console.log('has ' + read('/etc/filed/changing.conf'));
    setInterval(() => { if (read('/etc/filed/changing.conf') === 'first') return; console.log('has ' + read('/etc/filed/changing.conf') + ' ' + read('/etc/filed-one.conf')); process.exit(); }, 20);`;
  await using running = startOnLaptop(stage, kpctl(stage, 'run', '-w', 'filed', '--files', '--', stage.node, '-e', program));
  t.is(await running.waitForLine(/^has/), 'has first');
  await stage.kubectlOut('patch', 'configmap', 'settings', '-p', '{"data":{"changing.conf":"second"}}');
  t.is(await running.waitForLine(/^has second/), 'has second first');
  t.is((await running.exited).code, 0);
});

test('what is not imitated is told once, a right that is missing is named, and the rest is there', async (t) => {
  const account = ['--as', `system:serviceaccount:${stage.namespace}:limited`];
  const outcome = await onLaptop(stage, kpctl(stage, 'run', ...account, '-w', 'filed', '--files', '--', 'cat', '/etc/filed/other.conf'));
  t.is(outcome.stdout, 'other\n', outcome.stderr);
  t.is(outcome.stderr.match(/volume host \(hostPath\) at \/filed-host/g)?.length, 1);
  t.regex(outcome.stderr, /volume secret: Secret passwords cannot be read: .*ask for the right to get secrets/);
  t.regex(
    outcome.stderr,
    /volume kube-api-access-\S+: the token of service account reader is not made: .*ask for the right to create serviceaccounts\/token/,
  );
});

test('nothing is left on the laptop', async (t) => {
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
  const found = await onLaptop(stage, ['sh', '-c', 'ls -d "$@" 2>/dev/null; true', 'sh', ...places.slice(0, -1)]);
  t.is(found.stdout, '');
  t.false(readFileSync('/proc/self/mountinfo', 'utf8').includes(' kpeering '));
});
