import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { z } from 'zod';
import type { Outcome } from '../../src/kpctl/demo/processes.ts';
import { version } from '../../src/platform/version.ts';
import { root } from './cluster-stage.ts';
import {
  clusterAccess,
  clusterObjects,
  differencesSince,
  imageTag,
  isInstalled,
  onCluster,
  succeedOnCluster,
  underTest,
} from './installation.ts';

/**
 * Installs and uninstalls, so it is for a cluster without kpeering and is run before the other files (main.ts). One test leads to the next: an installation takes
 * a while.
 */

const access = clusterAccess();
const chart = join(root, 'deploy/chart');
const NAMESPACE = 'kpeering-system';
/** A workload that is injected by its label. */
const APP_NAMESPACE = 'kp-e2e-install-app';

let temporary: string;
let before: readonly string[];

test.before(async () => {
  if (await isInstalled(access)) throw new Error('kpeering is installed in this cluster: these tests would take it away');
  temporary = await mkdtemp(join(tmpdir(), 'kp-e2e-install-'));
  before = await clusterObjects(access);
});

test.after.always(async () => {
  await onCluster(access, 'helm', 'uninstall', 'kp', '-n', NAMESPACE, '--ignore-not-found');
  await letGo();
  await kpctl('uninstall', '--yes', '--force');
  await onCluster(access, 'kubectl', 'delete', 'namespace', NAMESPACE, APP_NAMESPACE, '--ignore-not-found');
  await rm(temporary, { recursive: true, force: true });
});

async function kpctl(...argv: readonly string[]): Promise<Outcome> {
  return await onCluster(access, process.execPath, join(root, 'bin/kpctl.js'), ...argv);
}

async function kubectl(...argv: readonly string[]): Promise<string> {
  return await succeedOnCluster(access, 'kubectl', ...argv);
}

/** Takes the finalizer from what keeps the namespace from going, in the test of that. */
async function letGo(): Promise<void> {
  await onCluster(
    access,
    'kubectl',
    'patch',
    'configmap',
    'stays',
    '-n',
    NAMESPACE,
    '--type=merge',
    '-p',
    '{"metadata":{"finalizers":null}}',
  );
}

/** The names of everything that is labelled as an installation's. */
async function installedNames(): Promise<readonly string[]> {
  const kinds =
    'serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings,services,deployments,pdb,mutatingwebhookconfigurations,namespaces';
  const columns = 'custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.labels.app\\.kubernetes\\.io/version';
  const table = await kubectl('get', kinds, '-A', '-l', 'app.kubernetes.io/part-of=kpeering', '--no-headers', '-o', columns);
  return table
    .trim()
    .split('\n')
    .map((line) => line.replaceAll(/ +/g, ' '))
    .toSorted();
}

async function caBundles(): Promise<string> {
  return await kubectl('get', 'mutatingwebhookconfiguration', 'kpeering', '-o', 'jsonpath={.webhooks[*].clientConfig.caBundle}');
}

const manifestSchema = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), labels: z.record(z.string(), z.string()) }),
});
type Manifest = z.infer<typeof manifestSchema>;

function manifestsOf(text: string): Map<string, Manifest> {
  const objects = parseAllDocuments(text).flatMap((document): Manifest[] => {
    const value: unknown = document.toJS();
    return value === null ? [] : [manifestSchema.parse(value)];
  });
  return new Map(objects.map((object) => [`${object.kind} ${object.metadata.name}`, object]));
}

const valueSets: readonly { readonly name: string; readonly values: object; readonly namespace: string }[] = [
  { name: 'the defaults', values: {}, namespace: NAMESPACE },
  {
    name: 'everything set',
    namespace: 'elsewhere',
    values: {
      registry: 'registry.example.com/team',
      images: { kpeering: 'k@sha256:0123', init: 'i:1' },
      pullPolicy: 'Always',
      imagePullSecrets: ['one', 'two'],
      logLevel: 'debug',
      injection: {
        defaults: { mode: 'redirect', 'exclude-outbound-cidrs': '10.0.0.0/8, fd00::/8', 'memory-limit': '1Gi' },
        excludedNamespaces: ['db', 'kube-system'],
        imagePullSecrets: ['theirs'],
      },
      operator: {
        replicas: 3,
        resources: { requests: { cpu: 1, 'example.com/<a&b>': '2' }, limits: null },
        priorityClassName: 'system-cluster-critical',
        nodeSelector: { 'kubernetes.io/os': 'linux' },
        tolerations: [
          { key: 'a', operator: 'Exists' },
          { effect: 'NoExecute', tolerationSeconds: 30 },
        ],
      },
      gateway: { replicas: 2, resources: { limits: { cpu: 0.5 } } },
    },
  },
  { name: 'no gateway, one replica', values: { gateway: { enabled: false }, operator: { replicas: 1 } }, namespace: 'kpeering' },
];

for (const { name, values, namespace } of valueSets) {
  test.serial(`helm template and kpctl install --dry-run make the same objects: ${name}`, async (t) => {
    const file = join(temporary, 'values.yaml');
    await writeFile(file, stringify(values));
    const ofHelm = manifestsOf(await succeedOnCluster(access, 'helm', 'template', 'kp', chart, '-n', namespace, '-f', file));
    const dryRun = await kpctl('install', '--namespace', namespace, '-f', file, '--dry-run', '-o', 'yaml');
    t.is(dryRun.code, 0, dryRun.stderr);
    const ours = manifestsOf(dryRun.stdout);
    // Helm makes the namespace itself (--create-namespace)
    t.true(ours.delete(`Namespace ${namespace}`));
    t.deepEqual([...ours.keys()].toSorted(), [...ofHelm.keys()].toSorted());
    t.true(ours.size > 8);
    for (const [key, object] of ours) {
      t.is(object.metadata.labels['app.kubernetes.io/managed-by'], 'kpctl');
      const other = ofHelm.get(key);
      t.is(other?.metadata.labels['app.kubernetes.io/managed-by'], 'Helm');
      const labels = { ...other?.metadata.labels, 'app.kubernetes.io/managed-by': 'kpctl' };
      t.deepEqual(object, { ...other, metadata: { ...other?.metadata, labels } }, key);
    }
  });
}

test.serial('helm lint finds nothing, and wrong values are refused by Helm and by kpctl', async (t) => {
  await succeedOnCluster(access, 'helm', 'lint', '--strict', chart);
  for (const wrong of ['operator.replicas=0', 'operator.replica=2', 'pullPolicy=Sometimes', 'injection.defaults.moode=auto']) {
    t.not((await onCluster(access, 'helm', 'template', 'kp', chart, '--set', wrong)).code, 0, wrong);
    const refused = await kpctl('install', '--dry-run', '-o', 'yaml', '--set', wrong);
    t.is(refused.code, 2, wrong);
    t.true(refused.stderr.includes('[INSTALL_VALUES]'), refused.stderr);
  }
});

test.serial(
  'an image that the nodes do not have is told with its reason, and no pod waits for an operator that is not there',
  async (t) => {
    const failed = await kpctl('install', '--image', 'kpeering/none:such', '--pull-policy', 'Never', '--timeout', '60s');
    t.is(failed.code, 1);
    t.regex(failed.stderr, /did not become ready \(.*ErrImageNeverPull.*kpeering\/none:such.*--image.*\[INSTALL_NOT_READY\]/s);
    t.false(await isInstalled(access));
  },
);

test.serial('install goes on from there, and a second one changes nothing', async (t) => {
  const first = await kpctl('install', ...underTest);
  t.is(first.code, 0, first.stderr);
  t.regex(first.stdout, /^kpeering is installed in namespace kpeering-system and ready: /);
  t.regex(first.stderr, /^created MutatingWebhookConfiguration kpeering$/m);
  const second = await kpctl('install', ...underTest, '-o', 'json');
  t.is(second.code, 0, second.stderr);
  const outcomes = z.array(z.object({ kind: z.string(), change: z.string() })).parse(JSON.parse(second.stdout));
  t.deepEqual([...new Set(outcomes.map(({ change }) => change))], ['unchanged']);
  t.is(outcomes.length, (await installedNames()).length);
  t.is((await kpctl('install', ...underTest, '--dry-run')).stdout, 'nothing would change\n');
});

test.serial('there is one installation in a cluster: another namespace and Helm are refused, and change nothing', async (t) => {
  const installed = await clusterObjects(access);
  const elsewhere = await kpctl('install', ...underTest, '--namespace', 'kpeering-other');
  t.is(elsewhere.code, 1);
  t.regex(elsewhere.stderr, /installed in the namespace kpeering-system already.*\[INSTALL_ELSEWHERE\]/);
  const helm = await onCluster(access, 'helm', 'install', 'kp', chart, '-n', NAMESPACE);
  t.not(helm.code, 0);
  t.regex(helm.stderr, /cannot be imported into the current release|invalid ownership metadata/);
  t.deepEqual(await differencesSince(access, installed), []);
});

test.serial(
  'other values change what they concern, take away what is not wanted any more, and leave the authority to the operator',
  async (t) => {
    const authority = await caBundles();
    t.not(authority, '');
    const plan = await kpctl('install', ...underTest, '--set', 'gateway.enabled=false', '--dry-run');
    t.deepEqual(plan.stdout.trim().split('\n').toSorted(), [
      'would be deleted Deployment kpeering-gateway',
      'would be deleted PodDisruptionBudget kpeering-gateway',
      'would be deleted ServiceAccount kpeering-gateway',
    ]);
    const changed = await kpctl(
      'install',
      ...underTest,
      '--set',
      'gateway.enabled=false',
      '--set',
      'injection.excludedNamespaces=[kp-e2e-none]',
    );
    t.is(changed.code, 0, changed.stderr);
    t.regex(changed.stdout, /ready: 2 changed, 3 deleted$/m);
    t.is(await caBundles(), authority);
    t.deepEqual(
      (await installedNames()).filter((name) => name.includes('gateway')),
      [],
    );
  },
);

test.serial(
  'uninstall refuses while a workload carries a sidecar and names it; --eject takes it out first; then nothing is left',
  async (t) => {
    t.teardown(async () => void (await onCluster(access, 'kubectl', 'delete', 'namespace', APP_NAMESPACE, '--ignore-not-found')));
    await kubectl('create', 'namespace', APP_NAMESPACE);
    const app = join(temporary, 'app.json');
    const labels = { app: 'web', 'kpeering.io/inject': 'enabled' };
    const container = {
      name: 'web',
      image: `kpeering/examples:${imageTag}`,
      imagePullPolicy: 'IfNotPresent',
      args: ['server', '8080'],
      ports: [{ containerPort: 8080 }],
    };
    await writeFile(
      app,
      JSON.stringify({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'web', namespace: APP_NAMESPACE },
        spec: {
          selector: { matchLabels: { app: 'web' } },
          template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 2, containers: [container] } },
        },
      }),
    );
    await kubectl('apply', '-f', app);
    await kubectl('rollout', 'status', '-n', APP_NAMESPACE, 'deployment/web', '--timeout=60s');
    const pods = await kubectl('get', 'pods', '-n', APP_NAMESPACE, '-l', 'kpeering.io/injected=true', '-o', 'name');
    t.is(pods.trim().split('\n').length, 1);

    const refused = await kpctl('uninstall', '--yes');
    t.is(refused.code, 1);
    t.regex(refused.stderr, /^ {2}deployment\/web in namespace kp-e2e-install-app \(1 pod\)$/m);
    t.regex(refused.stderr, /--eject .*\[UNINSTALL_SIDECARS\]/);
    t.true(await isInstalled(access));
    // nobody is there to be asked
    t.regex((await kpctl('uninstall', '--eject')).stderr, /\[CONFIRMATION_REQUIRED\]/);

    const gone = await kpctl('uninstall', '--eject', '--yes');
    t.is(gone.code, 0, gone.stderr);
    const template = await kubectl('get', '-n', APP_NAMESPACE, 'deployment/web', '-o', 'jsonpath={.spec.template.metadata}');
    t.deepEqual(parse(template), { labels: { app: 'web' } });
    await kubectl('delete', 'namespace', APP_NAMESPACE);
    t.deepEqual(await differencesSince(access, before), []);
    t.is((await kpctl('uninstall', '--yes')).stdout, 'kpeering is not installed: nothing to do\n');
  },
);

/** The first version's objects with the images under test, by its kpctl. `more`: other objects of it. */
async function installFirstVersion(...more: readonly object[]): Promise<void> {
  const manifests = await readFile(join(root, 'test/fixtures/install/0.1.0.yaml'), 'utf8');
  const file = join(temporary, 'first.yaml');
  const ours = manifests
    .replaceAll(/(kpeering\/(?:kpeering|init)):0\.1\.0/g, `$1:${imageTag}`)
    .replaceAll('app.kubernetes.io/version: 0.1.0', 'app.kubernetes.io/version: 0.1.0-first');
  await writeFile(file, [ours, ...more.map((object) => stringify(object))].join('---\n'));
  await kubectl('apply', '--server-side', '--field-manager=kpctl', '-f', file);
}

/** Something that the first version had, and this one has not. */
const retired = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: {
    name: 'kpeering-retired',
    labels: {
      'app.kubernetes.io/part-of': 'kpeering',
      'app.kubernetes.io/managed-by': 'kpctl',
      'app.kubernetes.io/version': '0.1.0-first',
    },
  },
  rules: [],
};

test.serial('a half-installed kpeering is taken away, whatever is missing of it', async (t) => {
  await installFirstVersion(retired);
  await kubectl('delete', 'deployment/kpeering-operator', 'service/kpeering-webhook', 'serviceaccount/kpeering-gateway', '-n', NAMESPACE);
  await kubectl('delete', 'clusterrole/kpeering-operator', 'mutatingwebhookconfiguration/kpeering');
  const gone = await kpctl('uninstall', '--yes');
  t.is(gone.code, 0, gone.stderr);
  t.deepEqual(await differencesSince(access, before), []);
});

test.serial('an upgrade from the first version leaves nothing of it', async (t) => {
  await installFirstVersion(retired);
  const upgraded = await kpctl('install', ...underTest, '--set', 'logLevel=debug');
  t.is(upgraded.code, 0, upgraded.stderr);
  const names = await installedNames();
  t.deepEqual(
    names.filter((name) => !name.endsWith(` ${version}`)),
    [],
  );
  t.false(names.some((name) => name.includes('retired')));
  t.regex(upgraded.stderr, /^deleted ClusterRole kpeering-retired$/m);
});

test.serial('what keeps the namespace from going is told, and uninstall ends when it is mended', async (t) => {
  await kubectl('create', 'configmap', 'stays', '-n', NAMESPACE);
  await kubectl('patch', 'configmap', 'stays', '-n', NAMESPACE, '--type=merge', '-p', '{"metadata":{"finalizers":["example.com/stays"]}}');
  const stuck = await kpctl('uninstall', '--yes', '--timeout', '15s');
  t.is(stuck.code, 1);
  t.regex(stuck.stderr, /Namespace kpeering-system is still there after 15 s \(.*example\.com\/stays.*\[UNINSTALL_TIMEOUT\]/s);
  await letGo();
  t.is((await kpctl('uninstall', '--yes')).code, 0);
  t.deepEqual(await differencesSince(access, before), []);
});

test.serial('helm install, upgrade and uninstall; kpctl leaves a release alone', async (t) => {
  const images = ['--set', `images.kpeering=kpeering/kpeering:${imageTag}`, '--set', `images.init=kpeering/init:${imageTag}`];
  await succeedOnCluster(
    access,
    'helm',
    'install',
    'kp',
    chart,
    '-n',
    NAMESPACE,
    '--create-namespace',
    '--wait',
    '--timeout=90s',
    ...images,
  );
  const refused = await kpctl('install', ...underTest);
  t.is(refused.code, 1);
  t.regex(
    refused.stderr,
    /installed by Helm, as release kp in namespace kpeering-system; use "helm upgrade kp -n kpeering-system".*\[INSTALL_HELM\]/,
  );
  t.regex((await kpctl('uninstall', '--yes')).stderr, /use "helm uninstall kp -n kpeering-system".*\[INSTALL_HELM\]/);

  const hasAuthority = '--for=jsonpath={.webhooks[0].clientConfig.caBundle}';
  await kubectl('wait', 'mutatingwebhookconfiguration/kpeering', hasAuthority, '--timeout=30s');
  const authority = await caBundles();
  await succeedOnCluster(access, 'helm', 'upgrade', 'kp', chart, '-n', NAMESPACE, ...images, '--set', 'gateway.enabled=false');
  t.is(await caBundles(), authority);
  await succeedOnCluster(access, 'helm', 'uninstall', 'kp', '-n', NAMESPACE, '--wait');
  await kubectl('delete', 'namespace', NAMESPACE);
  t.deepEqual(await differencesSince(access, before), []);
});
