import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { labAddresses } from '../../../src/lab/index.ts';
import { version } from '../../../src/platform/version.ts';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment, service } from './manifests.ts';
import { assertRefused, eventually, messages, portOf, Stage } from './stage.ts';

const node = process.execPath;

const configured = `
apiVersion: v1
kind: ConfigMap
metadata: { name: greeting }
data: { GREETING: first }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { GREETING: "hello, world", "not.a.name": x }
---
apiVersion: v1
kind: Secret
metadata: { name: passwords }
stringData: { password: "s3cret $x" }
---
`;
const environment = `env: [
  { name: PASSWORD, valueFrom: { secretKeyRef: { name: passwords, key: password } } },
  { name: POD, valueFrom: { fieldRef: { fieldPath: metadata.name } } },
  { name: TEXT, value: "$(GREETING) and $(PASSWORD), not $$(GREETING)" },
  { name: HOME, value: /nowhere },
  { name: PATH, value: /nowhere } ], envFrom: [{ configMapRef: { name: settings } }]`;
const mounts = `volumeMounts: [
  { name: config, mountPath: /kp-files/config }, { name: secret, mountPath: /kp-files/secret, subPath: password },
  { name: absent, mountPath: /kp-files/absent }, { name: data, mountPath: /data } ]`;
const volumes = `[
  { name: config, configMap: { name: greeting } }, { name: secret, secret: { secretName: passwords } },
  { name: absent, configMap: { name: absent } }, { name: data, persistentVolumeClaim: { claimName: data } } ]`;
const idle = 'image: "lab/sh:dev", args: ["exec /bin/sleep 100000"]';

const test = await labSuite(import.meta.filename, async () =>
  Stage.open(
    configured +
      deployment({ name: 'web', replicas: 2 }) +
      service('web') +
      service('web-headless', 'clusterIP: None,', 'web') +
      deployment({ name: 'configured', container: `${idle}, ${environment}` }) +
      deployment({ name: 'filed', container: `${idle}, ${mounts}`, pod: `volumes: ${volumes.replaceAll('\n', ' ')}` }),
  ),
);

/** A Node program as COMMAND. */
function script(text: string): string[] {
  return [node, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', text];
}

test('without a gateway one line says so, and names -w', async (stage) => {
  assertRefused(
    await stage.kpctl(['run', '--', 'true']),
    125,
    /no ready gateway in namespace default nor in kpeering-system; .*kpctl run -w WORKLOAD -- COMMAND.*\[GATEWAY_MISSING\]$/,
  );
  await stage.lab.apply(readFileSync(new URL('../../../deploy/gateway.yaml', import.meta.url), 'utf8'));
  await stage.lab.waitReady();
  const outcome = await stage.kpctl(['run', '--', ...stage.example, 'get', 'http://web/status']);
  assert.match(outcome.stdout, /^200 server on web-\S+ is well\n$/);
  assert.deepEqual([outcome.code, outcome.stderr], [0, '']);
});

test("COMMAND's exit code, stdin, stdout, stderr and working directory are its own", async (stage) => {
  const folder = stage.folder();
  const run = (text: string, input = '') => stage.kpctl(['run', '--', 'sh', '-c', text], { input, prefix: ['env', '-C', folder] });
  assert.deepEqual(await run('pwd; echo problem >&2; exit 7'), { code: 7, stdout: `${folder}\n`, stderr: 'problem\n' });
  assert.deepEqual(await run('tr a-z A-Z', 'text of stdin\n'), { code: 0, stdout: 'TEXT OF STDIN\n', stderr: '' });
  assert.equal((await run('kill -9 $$')).code, 137);
});

test('signals that kpctl gets are passed on: COMMAND decides', async (stage) => {
  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const) {
    await using dies = stage.start(['run', '--', 'sh', '-c', 'echo started; exec sleep 1000']);
    await dies.waitForLine(/^started$/);
    dies.kill(signal);
    assert.equal((await dies.exited).code, code);
  }
  const trap = 'trap "echo caught; exit 9" TERM HUP; echo started; while :; do sleep 0.1; done';
  await using handles = stage.start(['run', '--', 'sh', '-c', trap]);
  await handles.waitForLine(/^started$/);
  handles.kill('SIGHUP');
  const outcome = await handles.exited;
  assert.deepEqual([outcome.code, outcome.stdout], [9, 'started\ncaught\n']);
});

test('all forms of a Service name, of a headless one and of pods resolve as in a pod, and lead there', async (stage) => {
  const names = ['web', 'web.default', 'web.default.svc', 'web.default.svc.cluster.local', 'WEB', 'web-headless', 'kubernetes'];
  const text = `
    import { lookup } from 'node:dns/promises'; import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
    const answers = {};
    for (const name of ${JSON.stringify([...names, 'no-such-service', 'web.nowhere'])})
      answers[name] = await lookup(name, { all: true }).then((all) => all.map((one) => one.address).sort(), (error) => error.code);
    answers.called = await fetch('http://web.default.svc/status').then((r) => r.text());
    answers.resolv = readFileSync('/etc/resolv.conf', 'utf8');
    console.log(JSON.stringify(answers));`;
  const { stdout, stderr } = await stage.kpctl(['run', '--', ...script(text)]);
  const answers = z.record(z.string(), z.union([z.string(), z.array(z.string())])).parse(JSON.parse(stdout === '' ? stderr : stdout));
  const address = stage.lab.store.services.get('default', 'web')?.spec.clusterIP;
  for (const name of names.slice(0, 5)) assert.deepEqual(answers[name], [address], name);
  assert.deepEqual(
    answers['web-headless'],
    stage
      .pods('web')
      .map((pod) => stage.address(pod))
      .toSorted(),
  );
  assert.deepEqual(answers['kubernetes'], [labAddresses.kubernetes]);
  // asked of the machine's own resolver, which the laptop of the lab lacks
  assert.equal(answers['no-such-service'], 'EAI_AGAIN');
  assert.equal(answers['web.nowhere'], 'EAI_AGAIN');
  assert.match(String(answers['called']), /^server on web-/);
  assert.match(String(answers['resolv']), /search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local/);
});

test('--files puts ConfigMaps and Secrets where the container has them, and follows them; what is not to be had is told', async (stage) => {
  const text = `
    const fs = require('node:fs');
    const read = () => fs.readFileSync('/kp-files/config/GREETING', 'utf8');
    console.log(read(), fs.readFileSync('/kp-files/secret', 'utf8'), fs.existsSync('/kp-files/absent'));
    const before = read();
    setInterval(() => { if (read() !== before) { console.log(read()); process.exit(); } }, 50);`;
  await using running = stage.start(['run', '-w', 'filed', '--files', '--', node, '-e', text]);
  assert.equal(await running.waitForLine(/^first/), 'first s3cret $x true');
  await stage.lab.apply('apiVersion: v1\nkind: ConfigMap\nmetadata: { name: greeting }\ndata: { GREETING: second }\n');
  const outcome = await running.exited;
  assert.equal(outcome.stdout, 'first s3cret $x true\nsecond\n');
  assert.deepEqual(messages(outcome), {
    warnings: [
      "kpctl: warning: not imitated, so the command sees this machine's own files there: volume data (persistentVolumeClaim) at /data",
      'kpctl: warning: volume absent: ConfigMap absent does not exist',
    ],
    others: [],
  });
});

test('--env-file, --unset and --env change the environment, of kpctl env as well', async (stage) => {
  const file = join(stage.folder(), 'variables');
  writeFileSync(file, `# a comment\nexport QUOTED="two\nlines"\nTEXT=of the file\nGONE=of the file\n`);
  const changes = ['--env-file', file, '--unset', 'GONE', '--unset', 'POD', '--env', 'PASSWORD=now $(GREETING)', '--env', 'MORE=a=b'];
  const names = ['QUOTED', 'TEXT', 'GONE', 'POD', 'PASSWORD', 'MORE', 'GREETING'];
  const expected = { QUOTED: 'two\nlines', TEXT: 'of the file', PASSWORD: 'now hello, world', MORE: 'a=b', GREETING: 'hello, world' };
  const print = `const { ${names.join()} } = process.env; console.log(JSON.stringify({ ${names.join()} }))`;
  const ran = await stage.kpctl(['run', '-w', 'configured', ...changes, '--', node, '-e', print]);
  assert.deepEqual(JSON.parse(ran.stdout), expected, ran.stderr);
  const printed = await stage.kpctl(['env', 'configured', '-o', 'json', ...changes]);
  const variables = z.record(z.string(), z.string()).parse(JSON.parse(printed.stdout));
  assert.deepEqual(Object.fromEntries(names.flatMap((name) => (variables[name] === undefined ? [] : [[name, variables[name]]]))), expected);
  assertRefused(await stage.kpctl(['run', '--env', 'NAME', '--', 'true']), 125, /expected NAME=VALUE/);
  assertRefused(await stage.kpctl(['run', '--files', '--', 'true']), 125, /--files needs a workload.*\[WORKLOAD_REQUIRED\]$/);
});

test('-n changes the namespace whose names are short', async (stage) => {
  await stage.lab.createNamespace('shop');
  await stage.lab.apply(service('till', 'clusterIP: None,', 'none') + service('till2'), 'shop');
  const run = (...words: string[]) => stage.kpctl(['run', '-w', 'web', '--', 'getent', 'ahostsv4', ...words]);
  assert.equal((await run('till2')).code, 2);
  assert.match((await run('till2.shop')).stdout, /^10\.96\./);
});

test('a Service made while COMMAND runs resolves', async (stage) => {
  const poll = `until getent ahostsv4 later > /dev/null; do sleep 0.2; done; exec "$@"`;
  await using run = stage.start(['run', '--', 'sh', '-c', `echo started; ${poll}`, 'sh', ...stage.example, 'get', 'http://later/status']);
  await run.waitForLine(/^started$/);
  await stage.lab.apply(service('later', '', 'web'));
  await stage.lab.settled();
  assert.match(await run.waitForLine(/^\d/), /^200 server on web-/);
  assert.equal((await run.exited).code, 0);
});

test("the laptop's own servers stay at 127.0.0.1, and what is not the cluster's is dialled from the laptop", async (stage) => {
  const own = await stage.laptopServer('own');
  // an address that no pod can reach
  await stage.laptop.run('ip', ['address', 'add', '203.0.113.7/32', 'dev', 'lo']);
  const near = await stage.laptopServer('near', 0, '203.0.113.7');
  const text = `
    console.log(await fetch('http://127.0.0.1:${portOf(own)}/').then((r) => r.text()));
    console.log(await fetch('http://localhost:${portOf(own)}/').then((r) => r.text()));
    console.log(await fetch('http://203.0.113.7:${portOf(near)}/').then((r) => r.text()));
    console.log(await fetch('http://127.0.0.1:4998/').catch((error) => error.cause.code));`;
  const outcome = await stage.kpctl(['run', '--', ...script(text)]);
  assert.deepEqual(outcome, { code: 0, stdout: 'own\nown\nnear\nECONNRESET\n', stderr: '' });
  own.close();
  near.close();
});

test("a port on which COMMAND listens is reachable at the laptop's 127.0.0.1", async (stage) => {
  await using run = stage.start(['run', '--', ...stage.example, 'server', '18080']);
  await run.waitForLine(/listens on 18080/);
  const served = async (): Promise<boolean> => (await stage.call('127.0.0.1', 18080, stage.laptop)).startsWith('server on ');
  await eventually('the port is reachable', served, 5_000);
  run.kill('SIGTERM');
  assert.equal((await run.exited).code, 0);
  assert.equal(await served(), false);
});

test('UDP to a cluster address that refuses it fails at once, and why is said', async (stage) => {
  const text = `
    import dgram from 'node:dgram'; const socket = dgram.createSocket('udp4');
    socket.on('error', (error) => { console.log(error.code); socket.close(); });
    socket.connect(9999, '10.96.0.77', () => socket.send('x'));`;
  const outcome = await stage.kpctl(['run', '--', ...script(text)]);
  assert.equal(outcome.stdout, 'ECONNREFUSED\n');
  assert.match(outcome.stderr, /^kpctl: warning: UDP to 10\.96\.0\.77:9999 through the cluster: refused: .+\n$/);
});

test('a cluster port on which nobody listens: COMMAND is reset, and why is said', async (stage) => {
  const [pod = ''] = stage.pods('caller');
  const outcome = await stage.kpctl(['run', '--', ...stage.example, 'get', `http://${stage.address(pod)}:4321/`]);
  assert.equal(outcome.stdout, 'ECONNRESET\n');
  assert.match(outcome.stderr, /^kpctl: warning: 10\.244\.\d+\.\d+:4321 through the cluster: .*(ECONNREFUSED|reset).*\n$/);
});

test("-w: the workload's environment, but PATH, HOME and the like stay the laptop's", async (stage) => {
  const text = `console.log(JSON.stringify(process.env))`;
  const outcome = await stage.kpctl(['run', '-w', 'configured', '--', ...script(text)]);
  assert.equal(outcome.code, 0, outcome.stderr);
  const seen = z.record(z.string(), z.string()).parse(JSON.parse(outcome.stdout));
  const [pod = ''] = stage.pods('configured');
  assert.equal(seen['GREETING'], 'hello, world');
  assert.equal(seen['PASSWORD'], 's3cret $x');
  assert.equal(seen['TEXT'], 'hello, world and s3cret $x, not $(GREETING)');
  assert.equal(seen['POD'], pod);
  assert.equal(seen['WEB_SERVICE_HOST'], stage.lab.store.services.get('default', 'web')?.spec.clusterIP);
  assert.equal(seen['PATH'], process.env['PATH']);
  assert.equal(seen['HOME'], stage.environment['HOME']);
});

test('env prints the same environment in every format', async (stage) => {
  const env = async (format: string): Promise<string> => {
    const outcome = await stage.kpctl(['env', 'configured', ...(format === '' ? [] : ['-o', format])]);
    assert.equal(outcome.code, 0, outcome.stderr);
    return outcome.stdout;
  };
  const schema = z.record(z.string(), z.string());
  const json = schema.parse(JSON.parse(await env('json')));
  const [pod = ''] = stage.pods('configured');
  assert.deepEqual([json['GREETING'], json['PASSWORD'], json['POD']], ['hello, world', 's3cret $x', pod]);
  assert.deepEqual(schema.parse(parse(await env('yaml'))), json);
  assert.match(await env(''), /^PASSWORD=.*s3cret/m);
  // the shell itself says whether the shell's format is right
  const shell = await env('shell');
  const printed = await stage.laptop.attempt('sh', ['-c', `${shell}\nprintf '%s|' "$TEXT" "$PASSWORD"`]);
  assert.equal(printed.stdout, `${json['TEXT']}|${json['PASSWORD']}|`);
});

test('a Secret that may not be read is named', async (stage) => {
  const kubeconfig = await stage.lab.addUser({
    name: 'no-secrets',
    rules: [
      { verbs: ['get', 'list', 'watch'], resources: ['deployments', 'replicasets', 'pods', 'services', 'endpointslices', 'configmaps'] },
      { verbs: ['create'], resources: ['pods/portforward'] },
    ],
  });
  const line = /secrets? "passwords".*\[\w+\]$/i;
  assertRefused(await stage.kpctl(['env', 'configured'], { kubeconfig }), 1, line);
  assertRefused(await stage.kpctl(['run', '-w', 'configured', '--', 'true'], { kubeconfig }), 125, line);
  // a workload without one needs no such right
  const outcome = await stage.kpctl(['run', '-w', 'web', '--', ...stage.example, 'get', 'http://web/status'], { kubeconfig });
  assert.match(outcome.stdout, /^200 server on web-/, outcome.stderr);
});

test('--port: claims and runs in one; callers are held back until COMMAND listens', async (stage) => {
  const late = `sleep 2; exec "$@"`;
  await using run = stage.start([
    'run',
    '-w',
    'web',
    '--port',
    '18081:http',
    '--',
    'sh',
    '-c',
    late,
    'sh',
    ...stage.example,
    'server',
    '18081',
  ]);
  await run.waitForLine(/^kpctl: ready$/);
  for (const pod of stage.pods('web')) assert.ok(run.lines.includes(`kpctl: ${pod} :8080 → 127.0.0.1:18081`), run.lines.join('\n'));
  assert.equal(
    run.lines.some((line) => line.includes('listens on')),
    false,
  );
  assert.equal(await stage.call('web', 80), 'server on laptop is well');
  run.kill('SIGTERM');
  const outcome = await run.exited;
  assert.deepEqual([outcome.code, messages(outcome).warnings], [0, []]);
  assert.match(await stage.call('web', 80), /^server on web-/);
});

test('the pod through which COMMAND reaches the cluster is deleted: new connections leave by another one', async (stage) => {
  const loop = `for (;;) { console.log(await fetch('http://web/status').then((r) => r.text(), (e) => 'failed ' + e.cause?.code)); await new Promise((r) => setTimeout(r, 300)); }`;
  await using run = stage.start(['run', '-w', 'web', '--', ...script(loop)]);
  await run.waitForLine(/^server on web-/);
  const reports = z
    .array(z.looseObject({ pods: z.array(z.looseObject({ name: z.string() })) }))
    .parse(JSON.parse((await stage.kpctl(['status', '-o', 'json'])).stdout));
  const pod = reports[0]?.pods[0]?.name ?? '';
  assert.ok(stage.pods('web').includes(pod));
  stage.lab.deletePod('default', pod);
  await run.waitForLine(new RegExp(`^kpctl: new flows leave from \\S+, and no more from ${pod}$`));
  const before = run.lines.length;
  await eventually(
    'five calls have succeeded since',
    () => run.lines.slice(before).filter((line) => line.startsWith('server on')).length >= 5,
  );
  run.kill('SIGTERM');
  assert.equal((await run.exited).code, 143);
  await stage.lab.waitReady();
});

test('version', async (stage) => {
  assert.equal(
    (await stage.kpctl(['version'])).stdout,
    `kpctl ${version} (Node ${process.version}, ${process.platform}-${process.arch})\n`,
  );
  assert.deepEqual(JSON.parse((await stage.kpctl(['version', '-o', 'json'])).stdout), {
    kpctl: version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  });
});
