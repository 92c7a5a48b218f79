import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment, service } from './manifests.ts';
import { portOf, Stage, type KpctlOptions } from './stage.ts';

const secret = 'pl4nted-S3cret';

const test = await labSuite(
  import.meta.filename,
  async () =>
    await Stage.open(
      deployment({ name: 'web', replicas: 2, capture: { KPEERING_MODE: 'redirect' } }) +
        service('web') +
        deployment({
          name: 'left-alone',
          sidecar: false,
          annotations: '{ kpeering.io/not-injected: "because [INJECT_GROUP]" }',
          container: `image: "lab/sh:dev", args: ["exec sleep 100000"], env: [{ name: LICENSE, value: ${secret} }]`,
        }),
    ),
);

const findingsSchema = z.array(
  z.object({ check: z.string(), subject: z.string().optional(), verdict: z.string(), seen: z.string(), fix: z.string().optional() }),
);
type Findings = z.infer<typeof findingsSchema>;

async function doctor(
  stage: Stage,
  words: readonly string[] = [],
  options: KpctlOptions = {},
): Promise<{ code: number | null; findings: Findings }> {
  const { code, stdout, stderr } = await stage.kpctl(['doctor', '-o', 'json', ...words], options);
  assert.doesNotMatch(stderr, /\n\s+at /, 'no stack trace');
  return { code, findings: findingsSchema.parse(JSON.parse(stdout)) };
}

const kubeconfigOf = (server: string): object => ({
  clusters: [{ name: 'c', cluster: { server } }],
  users: [{ name: 'u', user: { token: 'x' } }],
  contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
  'current-context': 'c',
});

const of = (findings: Findings, check: string): string[] =>
  findings.filter((finding) => finding.check === check).map(({ verdict, subject, seen }) => `${verdict} ${subject ?? ''} ${seen}`);

test('the doctor says how each pod captures, what was left alone, and that nothing is installed', async (stage) => {
  const { code, findings } = await doctor(stage);
  assert.equal(code, 1, 'there is a problem: no operator');
  const text = JSON.stringify(findings, undefined, 1);
  assert.match(of(findings, 'operator').join(), /^problem {2}kpeering is not installed/, text);
  const [one, two] = stage.pods('web');
  assert.deepEqual(of(findings, 'sidecars'), [`ok pod ${one} its sidecar answers`, `ok pod ${two} its sidecar answers`], text);
  assert.match(of(findings, 'capture').join('\n'), /^note pod web-\S+ redirect mode .* captures \*/, text);
  assert.match(
    of(findings, 'injection').join('\n'),
    /^warning pod left-alone-\S+ the operator has left it alone: because \[INJECT_GROUP\]/m,
    text,
  );
  assert.match(of(findings, 'transport').join(), /^ok {2}port-forwards go over SPDY/, text);
  assert.match(of(findings, 'user-namespaces').join(), /^ok {2}the private network of kpctl run can be made/, text);
  assert.ok(
    of(findings, 'rights').every((line) => line.startsWith('ok')),
    text,
  );
});

test('of one workload, in YAML and as text', async (stage) => {
  const yaml = await stage.kpctl(['doctor', 'web', '-o', 'yaml']);
  const findings = findingsSchema.parse(parse(yaml.stdout));
  assert.ok(findings.every(({ subject }) => subject?.includes('left-alone') !== true));
  const text = await stage.kpctl(['doctor', 'deployment/web']);
  assert.match(text.stdout, /^problem +operator +kpeering is not installed.*\n +→ run "kpctl install"/m);
  assert.match(text.stdout, /\n\n\d+ ok, .*1 problem/);
  assert.ok(!text.stdout.includes('\u001B'), 'no colours where there is no terminal');
  assert.match((await stage.kpctl(['doctor', 'nothing'])).stdout, /^problem +sidecars +.*nothing/m);
});

test('a developer with few rights is told which are missing', async (stage) => {
  const rules = [{ verbs: ['get', 'list', 'watch'], resources: ['*'], namespaces: ['default'] }];
  const { code, findings } = await doctor(stage, [], { kubeconfig: await stage.lab.addUser({ name: 'dev', rules }) });
  assert.equal(code, 1);
  const text = JSON.stringify(findings, undefined, 1);
  assert.ok(
    of(findings, 'rights').includes(
      'problem  list, intercept, run will not work: in namespace default you may not create pods/portforward',
    ),
    text,
  );
  assert.deepEqual(
    of(findings, 'sidecars'),
    stage.pods('web').map((pod) => `unknown pod ${pod} you may not port-forward to it`),
    text,
  );
  assert.match(of(findings, 'names').join('\n'), /^note {2}cluster names come from namespace default/m, text);
});

test('without an API server it says so in less than ten seconds, also where that accepts and is silent', async (stage) => {
  const silent = await stage.laptop.listen({ host: '127.0.0.1', port: 0 });
  for (const server of ['https://127.0.0.1:1', `https://127.0.0.1:${portOf(silent)}`]) {
    const kubeconfig = join(stage.folder(), 'kubeconfig');
    writeFileSync(kubeconfig, stringify(kubeconfigOf(server)));
    const before = performance.now();
    const { code, findings } = await doctor(stage, [], { kubeconfig });
    assert.ok(performance.now() - before < 10_000, `${performance.now() - before} ms`);
    assert.equal(code, 1);
    assert.match(of(findings, 'api').join(), /^problem .*(cannot be reached|does not answer in time)/);
    assert.match(of(findings, 'tools').join(), /^ok/);
    assert.equal(of(findings, 'operator').join(), 'unknown  not looked at: the API server does not answer');
  }
  silent.close();
  const none = await doctor(stage, [], { environment: { KUBECONFIG: '/nowhere' } });
  assert.match(of(none.findings, 'kubeconfig').join(), /^problem .*\[KUBECONFIG_/);
});

test('an archive for a bug report: what is in it is said before, and no planted secret is', async (stage) => {
  const file = join(stage.folder(), 'report.tar.gz');
  const { code, stdout, stderr } = await stage.kpctl(['logs', '--gather', '--file', file]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^this goes into .*:\n {2}README\.txt .*\n[\s\S]*\nwrote /);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const folder = stage.folder();
  execFileSync('tar', ['-xzf', file, '-C', folder]);
  const read = (path: string): string => execFileSync('cat', [join(folder, 'kpeering', path)], { encoding: 'utf8' });
  const [pod = ''] = stage.pods('web');
  assert.match(read(`sidecars/default/${pod}/rules.json`), /"mode": "redirect"/);
  assert.match(read(`sidecars/default/${pod}/metrics.txt`), /^kpeering_sessions \d+$/m);
  assert.match(read('namespaces/default/pods.json'), /"name": "LICENSE"/, 'the pod that was left alone is in it');
  assert.throws(() => execFileSync('grep', ['-rF', secret, folder]), 'the secret is not');
  const again = await stage.kpctl(['logs', '--gather', '--file', file]);
  assert.equal(again.code, 2);
  assert.match(again.stderr, /\[FILE_EXISTS\]/);
});
