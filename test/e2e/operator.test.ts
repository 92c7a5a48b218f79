import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import type { Running } from '../../src/kpctl/demo/processes.ts';
import { onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { issueCertificate } from '../../src/operator/certificates/issue.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';

/** kpeering's installation is the cluster's: these tests find it by its webhook, and leave it as it was. */
let stage: ClusterStage;
/** The operator's namespace. */
let system: string;

const configuration = ['mutatingwebhookconfiguration', 'kpeering'];
const secret = ['secret', 'kpeering-webhook-certificate'];

test.before(async (t) => {
  stage = await openClusterStage('operator', ['test/e2e/operator.yaml'], (line) => t.log(line));
  system = await kubectl('get', ...configuration, '-o', 'jsonpath={.webhooks[0].clientConfig.service.namespace}');
});
test.afterEach.always(async (t) => {
  if (!t.passed) t.log(await inSystem('logs', 'deployment/kpeering-operator', '--all-pods', '--since=90s', '--prefix'));
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

/** Without the line's end. */
async function kubectl(...argv: readonly string[]): Promise<string> {
  return (await stage.kubectlOut(...argv)).trim();
}

async function inSystem(...argv: readonly string[]): Promise<string> {
  return await kubectl('-n', system, ...argv);
}

async function until(what: string, seconds: number, condition: () => Promise<boolean>): Promise<void> {
  const late = performance.now() + seconds * 1000;
  while (!(await condition())) {
    if (performance.now() > late) throw new Error(`not in ${seconds} s: ${what}`);
    await delay(300);
  }
}

function podManifest(labels: Readonly<Record<string, string>>, spec: object = {}, name?: string): object {
  const container = { name: 'web', image: 'kpeering/examples:dev', imagePullPolicy: 'IfNotPresent', args: ['server', '8080'] };
  const metadata = { ...(name === undefined ? { generateName: 'asked-' } : { name }), labels };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata,
    spec: { terminationGracePeriodSeconds: 1, containers: [{ ...container, ports: [{ containerPort: 8080 }] }], ...spec },
  };
}

const asking = { 'kpeering.io/inject': 'enabled' };

const admittedSchema = z.object({
  metadata: z.object({ labels: z.record(z.string(), z.string()).default({}), annotations: z.record(z.string(), z.string()).default({}) }),
  spec: z.object({
    initContainers: z
      .array(z.object({ name: z.string(), env: z.array(z.object({ name: z.string(), value: z.string().optional() })).default([]) }))
      .default([]),
    containers: z.array(
      z.object({ readinessProbe: z.object({ tcpSocket: z.object({ port: z.number() }), periodSeconds: z.number() }).optional() }),
    ),
  }),
});
type Admitted = z.infer<typeof admittedSchema>;

/** The pod as the API server would store it. */
async function admitted(manifest: object, namespace = stage.namespace): Promise<Admitted> {
  const argv = ['kubectl', '-n', namespace, 'create', '-f', '-', '--dry-run=server', '-o', 'json'];
  const { code, stdout, stderr } = await onLaptop(stage, argv, { input: JSON.stringify(manifest) });
  if (code !== 0) throw new Error(stderr);
  return admittedSchema.parse(JSON.parse(stdout));
}

function isInjected({ metadata, spec }: Admitted): boolean {
  return metadata.labels['kpeering.io/injected'] === 'true' && spec.initContainers.some(({ name }) => name === 'kpeering');
}

async function withNamespace(suffix: string, labels: readonly string[], work: (namespace: string) => Promise<void>): Promise<void> {
  const namespace = `${stage.namespace}-${suffix}`;
  await kubectl('create', 'namespace', namespace);
  try {
    if (labels.length > 0) await kubectl('label', 'namespace', namespace, ...labels);
    await work(namespace);
  } finally {
    await stage.kubectl('delete', 'namespace', namespace, '--wait=false');
  }
}

test('a pod is injected for its own label or for that of its namespace, and disabled on the pod wins', async (t) => {
  t.true(isInjected(await admitted(podManifest(asking))));
  t.false(isInjected(await admitted(podManifest({}))));
  const form =
    'jsonpath={.items[0].metadata.labels.kpeering\\.io/injected} {.items[0].status.initContainerStatuses[?(@.name=="kpeering")].started}';
  t.is(await kubectl('get', 'pods', '-l', 'app=web', '-o', form), 'true true');
  await withNamespace('asks', ['kpeering.io/inject=enabled'], async (namespace) => {
    // At once: the operator's watch may not know the namespace yet.
    t.true(isInjected(await admitted(podManifest({}), namespace)));
    t.false(isInjected(await admitted(podManifest({ 'kpeering.io/inject': 'disabled' }), namespace)));
  });
});

/** Admissions of such a pod, so many a second, until they are {@link counted}. */
function admissions(pod: object, perSecond: number): Running {
  const program = stage.inCheckout('test/e2e/admissions.ts');
  return startOnLaptop(stage, [stage.node, program, stage.namespace, JSON.stringify(pod), '2', String(perSecond)]);
}

const countsSchema = z.object({ admitted: z.number(), bare: z.number(), failed: z.number(), p50: z.number(), p99: z.number() });

/** Ends them. */
async function counted(program: Running): Promise<z.infer<typeof countsSchema>> {
  program.kill('SIGTERM');
  const { stdout, stderr } = await program.exited;
  return countsSchema.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? stderr));
}

/** How often the API server has called our webhook. */
async function callsOfApiServer(): Promise<number> {
  const metrics = await stage.kubectlOut('get', '--raw', '/metrics');
  const counts = [
    ...metrics.matchAll(/^apiserver_admission_webhook_request_total\{[^}]*name="[a-z]+\.inject\.kpeering\.io"[^}]*\} (\S+)$/gmu),
  ];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

test('the API server does not ask about pods that no label asks for', async (t) => {
  const before = await callsOfApiServer();
  const programs = [podManifest({}), podManifest({ 'kpeering.io/inject': 'disabled' })].map((pod) => admissions(pod, 50));
  await Promise.all(programs.map(async (program) => await program.waitForLine(/^begun$/u)));
  await delay(1500);
  const counts = await Promise.all(programs.map(async (program) => await counted(program)));
  const between = await callsOfApiServer();
  await admitted(podManifest(asking));
  const others = counts.reduce((sum, { bare }) => sum + bare, 0);
  // Whatever else goes on in the cluster meanwhile.
  t.true(between - before < others / 4, `${between - before} calls for ${others} pods`);
  t.true((await callsOfApiServer()) > between);
});

/** What the pods of an app are: started, without a sidecar, with the reason in an annotation. */
async function assertLeftAlone(t: ExecutionContext, app: string, code: string, namespace = stage.namespace): Promise<void> {
  await kubectl('-n', namespace, 'rollout', 'status', `deployment/${app}`, '--timeout=60s');
  const reason = new RegExp(`\\[${code}\\]$`, 'u');
  const form =
    'jsonpath={.items[0].metadata.labels.kpeering\\.io/injected}|{.items[0].spec.initContainers}|{.items[0].metadata.annotations.kpeering\\.io/not-injected}';
  const [injected, initContainers, note] = (await kubectl('-n', namespace, 'get', 'pods', '-l', `app=${app}`, '-o', form)).split('|');
  t.deepEqual([injected, initContainers], ['', '']);
  t.regex(note ?? '', reason);
  const selector = `reason=NotInjected,involvedObject.kind=Deployment,involvedObject.name=${app}`;
  const events = ['-n', namespace, 'get', 'events', '--field-selector', selector, '-o', 'jsonpath={range .items[*]}{.message}{"\\n"}{end}'];
  await until(`an Event on ${app}`, 10, async () => (await kubectl(...events)) !== '');
  const messages = (await kubectl(...events)).split('\n');
  t.is(messages.length, 1);
  t.is(messages[0], note);
}

test('pods that cannot be injected start all the same; an annotation, and one Event on their Deployment, say why', async (t) => {
  await assertLeftAlone(t, 'on-its-node', 'INJECT_HOST_NETWORK');
  await assertLeftAlone(t, 'same-group', 'INJECT_GROUP');
  await assertLeftAlone(t, 'mistyped', 'INJECT_OPTION');
  await withNamespace('guarded', ['pod-security.kubernetes.io/enforce=baseline', 'kpeering.io/inject=enabled'], async (namespace) => {
    const create = ['-n', namespace, 'create', 'deployment', 'web', '--image=kpeering/examples:dev'];
    await kubectl(...create, '--', '/usr/bin/node', '/opt/examples/main.js', 'server', '8080');
    await assertLeftAlone(t, 'web', 'INJECT_POD_SECURITY', namespace);
  });
});

test('what another webhook adds after us is taken in: its probe is sent to an alias', async (t) => {
  const name = `zz-${stage.namespace}`;
  const issued = await issueCertificate({
    names: [`other.${stage.namespace}.svc`],
    notBefore: new Date(Date.now() - 3_600_000),
    notAfter: new Date(Date.now() + 3_600_000),
  });
  const pod = podManifest(
    { app: 'other' },
    {
      containers: [
        {
          name: 'web',
          image: 'kpeering/examples:dev',
          imagePullPolicy: 'IfNotPresent',
          command: ['/usr/bin/node', '/program/other-webhook.ts'],
          readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 },
          volumeMounts: [
            { name: 'tls', mountPath: '/tls' },
            { name: 'program', mountPath: '/program' },
          ],
        },
      ],
      volumes: [
        { name: 'tls', secret: { secretName: 'other' } },
        { name: 'program', configMap: { name: 'other' } },
      ],
    },
    'other',
  );
  const service = { service: { namespace: stage.namespace, name: 'other' }, caBundle: Buffer.from(issued.authority).toString('base64') };
  const items = [
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'other' }, stringData: { 'tls.crt': issued.certificate, 'tls.key': issued.key } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'other' },
      spec: { selector: { app: 'other' }, ports: [{ port: 443, targetPort: 8443 }] },
    },
    pod,
  ];
  const webhook = {
    name: 'other.kpeering.example',
    clientConfig: service,
    rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] }],
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': stage.namespace } },
    objectSelector: { matchLabels: { other: 'asked' } },
    failurePolicy: 'Fail',
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
  };
  await kubectl(
    'create',
    'configmap',
    'other',
    `--from-file=${stage.inCheckout('test/e2e/other-webhook.ts')}`,
    '--from-literal=package.json={"type":"module"}',
  );
  const apply = async (object: object): Promise<void> => {
    const { code, stderr } = await onLaptop(stage, ['kubectl', '-n', stage.namespace, 'apply', '-f', '-'], {
      input: JSON.stringify(object),
    });
    if (code !== 0) throw new Error(stderr);
  };
  await apply({ apiVersion: 'v1', kind: 'List', items });
  await kubectl('wait', 'pod/other', '--for=condition=Ready', '--timeout=30s');
  try {
    await apply({
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name },
      webhooks: [webhook],
    });
    let seen: Admitted | undefined;
    await until('the other webhook is called', 20, async () => {
      seen = await admitted(podManifest({ ...asking, other: 'asked' })).catch(() => undefined);
      return seen?.spec.containers[0]?.readinessProbe?.periodSeconds === 7;
    });
    t.is(seen?.spec.containers[0]?.readinessProbe?.tcpSocket.port, 15_400);
    const variables = seen?.spec.initContainers.find((container) => container.name === 'kpeering-init')?.env;
    t.is(variables?.find((variable) => variable.name === 'KPEERING_PROBE_ALIASES')?.value, '15400:8080');
  } finally {
    await kubectl('delete', 'mutatingwebhookconfiguration', name, '--ignore-not-found');
  }
});

/** The certificates in the caBundle of each of our entries. */
async function trusted(): Promise<readonly string[]> {
  const bundles = (await kubectl('get', ...configuration, '-o', 'jsonpath={.webhooks[*].clientConfig.caBundle}')).split(' ');
  return bundles.map((bundle) => Buffer.from(bundle, 'base64').toString());
}

async function certificateField(key: string): Promise<string> {
  return await inSystem('get', ...secret, '-o', `jsonpath={.data.${key.replaceAll('.', '\\.')}}`);
}

test('the certificate is rotated, and the operator rolled out, without a pod that misses its sidecar', async (t) => {
  const before = await certificateField('tls.crt');
  await using program = admissions(podManifest(asking), 10);
  await program.waitForLine(/^begun$/u);
  await inSystem('annotate', ...secret, 'kpeering.io/rotate=now', '--overwrite');
  await until('the next certificate is announced', 20, async () => (await certificateField('next-tls.crt')) !== '');
  await inSystem('rollout', 'restart', 'deployment/kpeering-operator');
  await inSystem('rollout', 'status', 'deployment/kpeering-operator', '--timeout=90s');
  await until('the next certificate is served', 60, async () => (await certificateField('tls.crt')) !== before);
  await until('the old authority is retired', 60, async () => (await certificateField('previous-ca.crt')) === '');
  const authority = Buffer.from(await certificateField('ca.crt'), 'base64').toString();
  await until('only the new authority is trusted', 10, async () => (await trusted()).every((bundle) => bundle === authority));
  t.is(await certificateField('next-tls.crt'), '');
  const counts = await counted(program);
  t.log(JSON.stringify(counts));
  t.deepEqual([counts.bare, counts.failed], [0, 0]);
  t.true(counts.admitted > 100);
});

async function holder(): Promise<string> {
  return await inSystem('get', 'lease', 'kpeering-operator', '-o', 'jsonpath={.spec.holderIdentity}');
}

test('when the leader is gone, and could not even give the Lease back, another replica leads and puts back a lost caBundle', async (t) => {
  await until('somebody leads', 20, async () => (await holder()) !== '');
  const gone = await holder();
  const bundles = await trusted();
  t.true(bundles.every((bundle) => bundle !== ''));
  await inSystem('delete', 'pod', gone.split('_')[0] ?? '', '--grace-period=0', '--force');
  await until('another replica leads', 40, async () => !['', gone].includes(await holder()));
  // As if it had been killed with its node.
  await inSystem('patch', 'lease', 'kpeering-operator', '--type=merge', '-p', JSON.stringify({ spec: { holderIdentity: gone } }));
  const held = performance.now();
  const removal = bundles.map((_, index) => ({ op: 'remove', path: `/webhooks/${index}/clientConfig/caBundle` }));
  await kubectl('patch', ...configuration, '--type=json', '-p', JSON.stringify(removal));
  await until('the Lease lapses', 40, async () => !['', gone].includes(await holder()));
  t.true(performance.now() - held > 10_000);
  await until('the caBundle is back', 20, async () => (await trusted()).every((bundle, index) => bundle === bundles[index]));
  await inSystem('rollout', 'status', 'deployment/kpeering-operator', '--timeout=60s');
  t.true(isInjected(await admitted(podManifest(asking))));
});

test('while no operator runs pods start without a sidecar', async (t) => {
  const replicas = await inSystem('get', 'deployment', 'kpeering-operator', '-o', 'jsonpath={.spec.replicas}');
  const selector = 'app.kubernetes.io/name=kpeering,app.kubernetes.io/component=operator';
  await inSystem('scale', 'deployment/kpeering-operator', '--replicas=0');
  try {
    await inSystem('wait', 'pod', '-l', selector, '--for=delete', '--timeout=60s');
    const { code, stderr } = await onLaptop(stage, ['kubectl', '-n', stage.namespace, 'apply', '-f', '-'], {
      input: JSON.stringify(podManifest(asking, {}, 'alone')),
    });
    t.is(code, 0, stderr);
    await kubectl('wait', 'pod/alone', '--for=condition=Ready', '--timeout=30s');
    t.is(await kubectl('get', 'pod', 'alone', '-o', 'jsonpath={.spec.initContainers}{.metadata.labels.kpeering\\.io/injected}'), '');
  } finally {
    await inSystem('scale', 'deployment/kpeering-operator', `--replicas=${replicas}`);
    await inSystem('rollout', 'status', 'deployment/kpeering-operator', '--timeout=60s');
  }
  // The node's Service rules follow readiness by a moment.
  await until('the webhook is called again', 20, async () => isInjected(await admitted(podManifest(asking))));
  t.pass();
});
