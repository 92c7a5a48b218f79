import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Outcome } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { developerFeatures, userRules, type Rule } from '../../src/operator/manifests/index.ts';
import { ports } from '../../src/platform/ports.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { imageTag } from './installation.ts';

/** Who has the two roles that an installation brings, and nothing else. */
const developer = 'kp-e2e-developer';
const SYSTEM_NAMESPACE = 'kpeering-system';
/** The port of the example's server on the laptop, which nobody has to answer here. */
const LOCAL_PORT = '39';

let stage: ClusterStage;
let binding: string;

test.before(async (t) => {
  stage = await openClusterStage('rights', ['deploy/examples/http.yaml'], (line) => t.log(line));
  binding = stage.namespace;
  await stage.kubectlOut('create', 'rolebinding', binding, '--clusterrole=kpeering-developer', `--user=${developer}`);
  await stage.kubectlOut('create', 'rolebinding', binding, '-n', SYSTEM_NAMESPACE, '--role=kpeering-user', `--user=${developer}`);
  await apply(['ephemeral', 'injected', 'replaced'].map((name) => workload(name)));
  for (const name of ['ephemeral', 'injected', 'replaced'])
    await stage.kubectlOut('rollout', 'status', `deployment/${name}`, '--timeout=60s');
});

test.after.always(async () => {
  await stage.kubectl('delete', 'rolebinding', binding, '-n', SYSTEM_NAMESPACE);
  await stage[Symbol.asyncDispose]();
});

/** Without the label: these get their sidecars by hand. */
function workload(name: string): object {
  const container = {
    name: 'app',
    image: `kpeering/examples:${imageTag}`,
    imagePullPolicy: 'IfNotPresent',
    args: ['server', '8080'],
    ports: [{ name: 'http', containerPort: 8080 }],
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { terminationGracePeriodSeconds: 2, containers: [container] } },
    },
  };
}

let files = 0;
async function apply(items: readonly object[]): Promise<void> {
  const file = join(stage.temporary, `apply-${files++}.json`);
  await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  await stage.kubectlOut('apply', '-f', file);
}

/** Runs an intercept as the developer until it is ready, and ends it. */
async function intercepts(name: string, ...options: string[]): Promise<void> {
  await using running = startOnLaptop(
    stage,
    kpctl(stage, 'intercept', name, '--port', `${LOCAL_PORT}:http`, '--yes', '--as', developer, ...options),
  );
  // two rollouts may take longer than one wait
  for (let left = 3; ; left -= 1) {
    try {
      await running.waitForLine(/^ready$/);
      break;
    } catch (error) {
      if (left === 0) throw error;
    }
  }
  running.kill('SIGINT');
  const { code, stderr } = await running.exited;
  if (code !== 130) throw new Error(stderr);
}

async function succeeds(...argv: readonly [string, ...string[]]): Promise<string> {
  const [command, ...rest] = argv;
  // what stands behind -- is not kpctl's
  const end = rest.indexOf('--');
  const options = ['--as', developer];
  const full = end === -1 ? [...rest, ...options] : [...rest.slice(0, end), ...options, ...rest.slice(end)];
  const outcome = await onLaptop(stage, kpctl(stage, command, ...full));
  if (outcome.code !== 0) throw new Error(`${argv.join(' ')}: ${outcome.stderr}`);
  return outcome.stdout;
}

test('with the roles of an installation every command works in one namespace', async (t) => {
  await t.notThrowsAsync(
    Promise.all([
      succeeds('list').then((table) => t.regex(table, /^deployment\/server /m)),
      succeeds('env', 'server').then((text) => t.regex(text, /GREETING/)),
      succeeds('run', '--', 'true'),
      intercepts('server'),
      intercepts('ephemeral', '--ephemeral'),
      succeeds('inject', 'injected', '--yes').then(async () => await succeeds('eject', 'injected', '--yes')),
      intercepts('replaced', '--replace'),
    ]),
  );
  await t.notThrowsAsync(succeeds('run', '-w', 'server', '--', 'true'));
  await t.notThrowsAsync(succeeds('run', '-w', 'server', '--transport', 'websocket', '--', 'true'));
  t.regex(await succeeds('doctor', 'server'), /api|transport/u);
  t.regex(await succeeds('logs', 'server'), /tunnel on/u);
  const archive = join(stage.temporary, 'gathered.tar.gz');
  await t.notThrowsAsync(succeeds('logs', '--gather', '--file', archive));
});

/** The rules of all features without one verb of one resource. */
function without(verb: string, resource: string): readonly Rule[] {
  return developerFeatures
    .flatMap(({ rules }) => rules)
    .flatMap((rule) =>
      rule.resources.flatMap((each): Rule[] => {
        const verbs = rule.verbs.filter((one) => one !== verb || each !== resource);
        return verbs.length === 0 ? [] : [{ ...rule, resources: [each], verbs }];
      }),
    );
}

interface Short {
  readonly verb: string;
  readonly resource: string;
  readonly argv: readonly [string, ...string[]];
}

const short: readonly Short[] = [
  { verb: 'list', resource: 'pods', argv: ['list'] },
  { verb: 'create', resource: 'pods/portforward', argv: ['intercept', 'server', '--port', `${LOCAL_PORT}:http`] },
  { verb: 'get', resource: 'deployments', argv: ['run', '-w', 'deployment/server', '--', 'true'] },
  { verb: 'get', resource: 'configmaps', argv: ['env', 'server'] },
  { verb: 'patch', resource: 'deployments', argv: ['inject', 'ephemeral', '--yes'] },
  {
    verb: 'patch',
    resource: 'pods/ephemeralcontainers',
    argv: ['intercept', 'injected', '--port', `${LOCAL_PORT}:http`, '--ephemeral', '--yes'],
  },
  { verb: 'create', resource: 'leases', argv: ['intercept', 'injected', '--port', `${LOCAL_PORT}:http`, '--replace', '--yes'] },
];

test('one right short: the message names the verb and the resource, and nothing has changed', async (t) => {
  const users = short.map((_, index) => `kp-e2e-short-${index}`);
  const api = 'rbac.authorization.k8s.io';
  await apply(
    short.flatMap(({ verb, resource }, index) => [
      { apiVersion: `${api}/v1`, kind: 'Role', metadata: { name: users[index] }, rules: without(verb, resource) },
      {
        apiVersion: `${api}/v1`,
        kind: 'RoleBinding',
        metadata: { name: users[index] },
        roleRef: { apiGroup: api, kind: 'Role', name: users[index] },
        subjects: [{ apiGroup: api, kind: 'User', name: users[index] }],
      },
    ]),
  );
  const outcomes = await Promise.all(
    short.map(async ({ argv: [command, ...rest] }, index): Promise<Outcome> => {
      return await onLaptop(stage, kpctl(stage, command, '--as', users[index] ?? '', ...rest));
    }),
  );
  for (const [index, { verb, resource, argv }] of short.entries()) {
    const { code = -1, stdout = '', stderr = '' } = outcomes[index] ?? {};
    t.is(code, argv[0] === 'run' ? 125 : 1, `${argv.join(' ')}: ${stdout}${stderr}`);
    t.regex(stderr, new RegExp(`cannot ${verb} resource "${resource}"`), argv.join(' '));
    t.notRegex(stderr, /^ +at /m);
  }
  const templates = await stage.kubectlOut(
    'get',
    'deployments',
    'ephemeral',
    'injected',
    '-o',
    'jsonpath={.items[*].spec.template.metadata}',
  );
  t.notRegex(templates, /kpeering/);
});

test("without the role in kpeering's own namespace, run without a workload says so", async (t) => {
  const outcome = await onLaptop(stage, kpctl(stage, 'run', '--as', 'kp-e2e-short-0', '--', 'true'));
  t.is(outcome.code, 125);
  t.regex(outcome.stderr, /cannot list resource "pods" in API group "" in the namespace "kpeering-system".*\[GATEWAY_MISSING\]/);
  t.true(userRules.some(({ resources, verbs }) => resources.includes('pods') && verbs.includes('list')));
});

/** Connects to a port of another pod, from the client's: what came of it, and what a request was answered. */
async function dialled(address: string, port: number, request: string): Promise<string> {
  const program = `
    const socket = require('node:net').connect(${port}, ${JSON.stringify(address)});
    let text = '';
    socket.setTimeout(5000, () => { console.log('silence'); process.exit(); });
    socket.on('connect', () => socket.write(${JSON.stringify(request)}));
    socket.on('data', (chunk) => { text += chunk; });
    socket.on('error', ({ code }) => { console.log(code); process.exit(); });
    socket.on('close', () => console.log(text === '' ? 'closed' : text.split('\\r\\n')[0]));
  `;
  return (await stage.kubectlOut('exec', 'deploy/client', '-c', 'client', '--', '/usr/bin/node', '-e', program)).trim();
}

test("from other pods: no tunnel, nothing behind the capture's own ports, and health that can only be read", async (t) => {
  await using running = startOnLaptop(stage, kpctl(stage, 'intercept', 'server', '--port', `${LOCAL_PORT}:http`));
  await running.waitForLine(/^ready$/);
  const address = (await stage.kubectlOut('get', 'pods', '-l', 'app=server', '-o', 'jsonpath={.items[0].status.podIP}')).trim();
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
  t.is(await dialled(address, ports.tunnel, get('/')), 'ECONNREFUSED');
  // the listener of the claimed port, which only a rule may bring somebody to
  for (const port of [ports.inbound, ports.firstListener])
    t.regex(await dialled(address, port, get('/')), /^(ECONNRESET|ECONNREFUSED)$/, `port ${port}`);
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    t.is(await dialled(address, ports.health, get(path)), 'HTTP/1.1 200 OK', path);
    for (const method of ['POST', 'PUT', 'DELETE']) {
      t.is(await dialled(address, ports.health, get(path).replace('GET', method)), 'HTTP/1.1 405 Method Not Allowed', `${method} ${path}`);
    }
  }
  t.is(await dialled(address, ports.health, get('/quit')), 'HTTP/1.1 404 Not Found');
  running.kill('SIGINT');
  t.is((await running.exited).code, 130);
});
