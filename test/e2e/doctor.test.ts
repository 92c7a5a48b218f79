import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { z } from 'zod';
import { kpctl, onLaptop } from '../../src/kpctl/demo/stage.ts';
import { withoutApiServer } from './api-server.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';

/** Who has the two roles that an installation brings, and who lacks one right of them. */
const developer = 'kp-e2e-doctor';
const short = 'kp-e2e-doctor-short';

/** In an environment variable, an annotation, a command line, a header, and what the app writes into its log. */
const secret = 'pl4nted-S3cret-0f-the-t3st';

let stage: ClusterStage;
/** The operator's namespace. */
let system: string;

test.before(async (t) => {
  stage = await openClusterStage('doctor', ['test/e2e/doctor.yaml'], (line) => t.log(line));
  const service = 'jsonpath={.webhooks[0].clientConfig.service.namespace}';
  system = (await stage.kubectlOut('get', 'mutatingwebhookconfiguration', 'kpeering', '-o', service)).trim();
});
test.afterEach.always(async (t) => {
  if (!t.passed) t.log(await stage.kubectlOut('get', 'pods', '-o', 'wide'));
});
test.after.always(async () => {
  await stage.kubectl('-n', system, 'delete', 'rolebinding', stage.namespace, '--ignore-not-found');
  await stage[Symbol.asyncDispose]();
});

/** As `web` of the manifest, with one pod. */
function application(name: string): object {
  const container = { name: 'http', image: 'kpeering/examples:dev', imagePullPolicy: 'IfNotPresent', args: ['server', '8080'] };
  const labels = { app: name, 'kpeering.io/inject': 'enabled' };
  const spec = { terminationGracePeriodSeconds: 1, containers: [container] };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: { selector: { matchLabels: { app: name } }, template: { metadata: { labels }, spec } },
  };
}

async function apply(items: readonly object[]): Promise<void> {
  const { code, stderr } = await onLaptop(stage, ['kubectl', '-n', stage.namespace, 'apply', '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
  });
  if (code !== 0) throw new Error(stderr);
}

const findingsSchema = z.array(
  z.object({ check: z.string(), subject: z.string().optional(), verdict: z.string(), seen: z.string(), fix: z.string().optional() }),
);
type Findings = z.infer<typeof findingsSchema>;

async function doctor(
  ...words: string[]
): Promise<{ readonly code: number | null; readonly findings: Findings; readonly milliseconds: number }> {
  const before = performance.now();
  const { code, stdout, stderr } = await onLaptop(stage, kpctl(stage, 'doctor', '-o', 'json', ...words));
  const milliseconds = performance.now() - before;
  if (stdout === '') throw new Error(stderr);
  return { code, findings: findingsSchema.parse(JSON.parse(stdout)), milliseconds };
}

/** `verdict subject: seen` of a check. */
function of(findings: Findings, check: string): readonly string[] {
  return findings
    .filter((finding) => finding.check === check)
    .map(({ verdict, subject, seen }) => `${verdict} ${subject === undefined ? '' : `${subject}: `}${seen}`);
}

test('where all is well the doctor finds no problem, and says so of each part', async (t) => {
  const { code, findings } = await doctor('web');
  t.is(code, 0, JSON.stringify(findings, undefined, 1));
  t.regex(of(findings, 'api').join('\n'), /^ok v1\.\d+\.\S+ answers in \d+ ms/);
  t.regex(of(findings, 'operator').join('\n'), /^ok (\d+) of \1 pods ready in namespace /);
  t.regex(of(findings, 'webhook').join('\n'), /^ok it answers: a dry-run pod in namespace \S+ was injected in \d+ ms$/);
  t.regex(
    of(findings, 'certificate').join('\n'),
    /^ok the webhook's certificate is valid until .*\nok the API server trusts its authority$/,
  );
  t.is(of(findings, 'sidecars').filter((line) => /^ok pod web-\S+: its sidecar answers$/.test(line)).length, 2);
  t.is(of(findings, 'capture').filter((line) => /^(ok|note) pod web-\S+: (tproxy|redirect) mode .* captures 8080/.test(line)).length, 2);
  t.regex(of(findings, 'transport').join('\n'), /^ok port-forwards go over SPDY/);
  t.regex(of(findings, 'injection').join('\n'), /^ok 2 of 2 pods are injected/);
  t.regex(of(findings, 'left-in-cluster').join('\n'), /^ok nothing is left over/);
});

test('the proof of the capture that the operator makes is told of each pod', async (t) => {
  t.timeout(60_000);
  await stage.kubectlOut('wait', 'pod', '-l', 'app=web', '--for=condition=kpeering.io/Captured', '--timeout=45s');
  const { findings } = await doctor('web');
  t.is(of(findings, 'capture').filter((line) => /^ok pod web-\S+: a connection from outside has proved/.test(line)).length, 2);
});

test("with the installation's two roles there is no problem; one right short, the doctor says which and for what", async (t) => {
  const { namespace } = stage;
  await stage.kubectlOut('create', 'rolebinding', developer, '--clusterrole=kpeering-developer', `--user=${developer}`);
  await stage.kubectlOut('-n', system, 'create', 'rolebinding', namespace, '--role=kpeering-user', `--user=${developer}`);
  const whole = await doctor('--as', developer);
  t.is(whole.code, 0, JSON.stringify(whole.findings, undefined, 1));
  t.true(of(whole.findings, 'rights').includes('ok you may use list, intercept, run'));
  t.regex(of(whole.findings, 'rights').join('\n'), /^note install, uninstall need the rights of an administrator$/m);
  const verb = ['--verb=get', '--verb=list', '--verb=watch'];
  const kinds = ['pods', 'services', 'deployments.apps', 'statefulsets.apps', 'daemonsets.apps', 'replicasets.apps', 'jobs.batch'];
  const all = [...kinds, 'endpointslices.discovery.k8s.io'].map((kind) => `--resource=${kind}`);
  await stage.kubectlOut('create', 'role', short, ...verb, ...all);
  await stage.kubectlOut('create', 'rolebinding', short, `--role=${short}`, `--user=${short}`);
  const { code, findings } = await doctor('web', '--as', short);
  t.is(code, 1);
  t.true(
    of(findings, 'rights').includes(
      `problem list, intercept, run will not work: in namespace ${namespace} you may not create pods/portforward`,
    ),
    JSON.stringify(findings, undefined, 1),
  );
  t.is(of(findings, 'sidecars').filter((line) => /^unknown pod web-\S+: you may not port-forward to it$/.test(line)).length, 2);
  t.regex(of(findings, 'webhook').join('\n'), /^unknown whether injection answers can only be tried by who may create pods/);
});

test('a planted secret is not in the archive for a bug report', async (t) => {
  const [pod = ''] = (await stage.kubectlOut('get', 'pods', '-l', 'app=planted', '-o', 'name')).trim().split('\n');
  // as if the sidecar had logged what a client sent
  const lines = [`Authorization: Bearer ${secret}`, `{"msg":"dialled postgres://u:${secret}@db/x","password":"${secret}"}`];
  const write = lines.map((line) => `echo '${line}'`).join('; ');
  await stage.kubectlOut('exec', pod, '-c', 'kpeering', '--', 'sh', '-c', `{ ${write}; } > /proc/1/fd/2`);
  const file = join(stage.temporary, 'report.tar.gz');
  const { code, stdout, stderr } = await onLaptop(stage, kpctl(stage, 'logs', '--gather', '--file', file));
  t.is(code, 0, stderr);
  t.regex(stdout, /^this goes into .*report\.tar\.gz, with secrets taken out/);
  t.is((await stat(file)).mode & 0o777, 0o600);
  const folder = join(stage.temporary, 'report');
  const shell = promisify(execFile);
  await shell('mkdir', [folder]);
  await shell('tar', ['-xzf', file, '-C', folder]);
  const own = join(folder, 'kpeering', `logs/${stage.namespace}/${pod.slice('pod/'.length)}/kpeering.log`);
  t.regex(await readFile(own, 'utf8'), /^Authorization: <redacted>$/m, 'the line is there');
  const found = await shell('grep', ['-rlF', secret, folder]).catch(() => ({ stdout: '' }));
  t.is(found.stdout, '');
  const encoded = await shell('grep', ['-rlF', Buffer.from(secret).toString('base64'), folder]).catch(() => ({ stdout: '' }));
  t.is(encoded.stdout, '', 'nor the Secret that holds it');
  const { stdout: names } = await shell('tar', ['-tzf', file]);
  for (const part of [
    'doctor.txt',
    'versions.json',
    `namespaces/${stage.namespace}/pods.json`,
    `namespaces/${stage.namespace}/events.json`,
    `logs/${stage.namespace}/${pod.slice('pod/'.length)}/kpeering.log`,
    `sidecars/${stage.namespace}/${pod.slice('pod/'.length)}/rules.json`,
    `sidecars/${stage.namespace}/${pod.slice('pod/'.length)}/metrics.txt`,
    `logs/${system}/kpeering-operator-`,
    `metrics/${system}/kpeering-operator-`,
    'cluster/mutatingwebhookconfigurations.json',
  ]) {
    t.true(names.includes(`kpeering/${part}`), part);
  }
  t.false(names.includes('secrets'));
  const pods = await readFile(join(folder, 'kpeering', `namespaces/${stage.namespace}/pods.json`), 'utf8');
  t.regex(pods, /"name": "LICENSE",\s+"value": "<redacted>"/);
});

test('the logs of the operator and of a sidecar are printed', async (t) => {
  const operator = await onLaptop(stage, kpctl(stage, 'logs', 'operator', '--tail', '50'));
  t.is(operator.code, 0, operator.stderr);
  t.regex(operator.stdout, /"name":"kpeering/);
  const sidecars = await onLaptop(stage, kpctl(stage, 'logs', 'web', '-o', 'json'));
  const sources = z
    .array(z.object({ pod: z.string(), container: z.string(), lines: z.array(z.string()) }))
    .parse(JSON.parse(sidecars.stdout));
  t.deepEqual([...new Set(sources.map(({ container }) => container))].toSorted(), ['kpeering', 'kpeering-init']);
  t.true(sources.every(({ lines }) => lines.length > 0));
});

test('while the operator is down the doctor says so, and afterwards which pods have no sidecar for it', async (t) => {
  t.timeout(150_000);
  const inSystem = async (...argv: string[]): Promise<string> => await stage.kubectlOut('-n', system, ...argv);
  const replicas = await inSystem('get', 'deployment', 'kpeering-operator', '-o', 'jsonpath={.spec.replicas}');
  await inSystem('scale', 'deployment/kpeering-operator', '--replicas=0');
  try {
    await inSystem('wait', 'pod', '-l', 'kpeering.io/role=operator', '--for=delete', '--timeout=60s');
    await apply([application('meanwhile')]);
    const { code, findings, milliseconds } = await doctor();
    t.is(code, 1);
    t.true(milliseconds < 10_000, `${milliseconds} ms`);
    t.regex(of(findings, 'operator').join('\n'), /^problem the operator is scaled to 0: pods start without kpeering/);
    t.regex(
      of(findings, 'webhook').join('\n'),
      /^problem the API server does not reach the operator: .* pods that start now start without kpeering$/,
    );
    await stage.kubectlOut('rollout', 'status', 'deployment/meanwhile', '--timeout=60s');
  } finally {
    await inSystem('scale', 'deployment/kpeering-operator', `--replicas=${replicas.trim()}`);
    await inSystem('rollout', 'status', 'deployment/kpeering-operator', '--timeout=60s');
  }
  const { findings } = await doctor('meanwhile');
  t.regex(
    of(findings, 'injection').join('\n'),
    /^warning pod meanwhile-\S+: its label asks for kpeering, and it has none: it was made while the operator did not answer/,
  );
  t.is(
    findings.find(({ check }) => check === 'injection')?.fix,
    `once the checks operator and webhook are well: kubectl -n ${stage.namespace} rollout restart deployment/meanwhile`,
  );
});

test('an API server that cannot be reached, and one that is there and answers nothing', async (t) => {
  const kubeconfig = join(stage.temporary, 'unreachable');
  const cluster = { server: 'https://127.0.0.1:9' };
  await writeFile(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: { token: 'x' } }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'c',
    }),
  );
  const refused = await doctor('--kubeconfig', kubeconfig);
  t.is(refused.code, 1);
  t.regex(
    of(refused.findings, 'api').join('\n'),
    /^problem the API server https:\/\/127\.0\.0\.1:9 cannot be reached .*\[API_UNREACHABLE\]$/,
  );
  await withoutApiServer(async () => {
    const { code, findings, milliseconds } = await doctor();
    t.is(code, 1);
    t.true(milliseconds < 10_000, `${milliseconds} ms`);
    t.regex(of(findings, 'api').join('\n'), /^problem .*(does not answer in time|cannot be reached)/);
    t.regex(of(findings, 'tools').join('\n'), /^(ok|problem) /, 'what is here is looked at all the same');
  });
  t.regex(of((await doctor()).findings, 'api').join('\n'), /^ok /);
});
