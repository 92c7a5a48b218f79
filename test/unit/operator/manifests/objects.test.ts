import test from 'ava';
import { z } from 'zod';
import type { Manifest } from '../../../../src/cluster/types.ts';
import { violations } from '../../../../src/operator/injection/pod-security.ts';
import { installationObjects, parseValues, type GivenValues } from '../../../../src/operator/manifests/index.ts';
import { excludedNamespaces, parseSettings } from '../../../../src/operator/settings.ts';

function objects(given: GivenValues = {}, namespace = 'kpeering-system'): readonly Manifest[] {
  return installationObjects({ namespace, values: parseValues(given) });
}

const named = (manifests: readonly Manifest[]): string[] => manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);

const containerSchema = z.object({
  name: z.string(),
  image: z.string(),
  env: z.array(z.object({ name: z.string(), value: z.string().optional() })),
  securityContext: z.object({
    allowPrivilegeEscalation: z.boolean(),
    readOnlyRootFilesystem: z.literal(true),
    capabilities: z.object({ drop: z.array(z.string()) }),
  }),
});
const deploymentSchema = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    template: z.object({
      spec: z.object({
        securityContext: z.object({ runAsUser: z.number(), runAsNonRoot: z.boolean(), seccompProfile: z.object({ type: z.string() }) }),
        imagePullSecrets: z.array(z.object({ name: z.string() })).optional(),
        containers: z.tuple([containerSchema]),
      }),
    }),
  }),
});

function deployments(manifests: readonly Manifest[]): z.infer<typeof deploymentSchema>[] {
  return manifests.filter(({ kind }) => kind === 'Deployment').map((manifest) => deploymentSchema.parse(manifest));
}

test('the namespace comes first and the webhook last, and all carry the labels by which they are found again', (t) => {
  const all = objects();
  t.is(named(all)[0], 'Namespace kpeering-system');
  t.is(named(all).at(-1), 'MutatingWebhookConfiguration kpeering');
  const labelled = z.object({ labels: z.record(z.string(), z.string()) });
  for (const { metadata } of all) {
    const { labels } = labelled.parse(metadata);
    t.is(labels['app.kubernetes.io/part-of'], 'kpeering');
    t.is(labels['app.kubernetes.io/managed-by'], 'kpctl');
  }
  t.is(new Set(named(all)).size, all.length);
});

test('what runs passes the Pod Security level restricted', (t) => {
  const found = deployments(objects());
  t.deepEqual(found.map(({ metadata }) => metadata.name).toSorted(), ['kpeering-gateway', 'kpeering-operator']);
  for (const { spec } of found) {
    const { securityContext: pod, containers } = spec.template.spec;
    const [{ name, securityContext }] = containers;
    t.deepEqual(violations('restricted', [{ name, securityContext: { ...pod, ...securityContext } }], pod.seccompProfile.type), []);
  }
});

test("the operator's settings are those of the values, as it reads them", (t) => {
  const all = objects({
    registry: 'registry.example.com/team',
    images: { init: 'kpeering/init@sha256:0123' },
    pullPolicy: 'Never',
    imagePullSecrets: ['ours'],
    injection: { defaults: { mode: 'redirect', 'cpu-limit': '<1>' }, excludedNamespaces: ['db'], imagePullSecrets: ['theirs'] },
  });
  const operator = deployments(all).find(({ metadata }) => metadata.name === 'kpeering-operator')?.spec.template.spec;
  const text = operator?.containers[0].env.find(({ name }) => name === 'KPEERING_SETTINGS')?.value ?? '';
  t.throws(() => parseSettings(text), { message: /cpu-limit/ }); // a value that Go would escape
  const settings = parseSettings(text.replace('\\u003c1\\u003e', '1'));
  t.like(settings, {
    images: { init: 'registry.example.com/team/kpeering/init@sha256:0123' },
    pullPolicy: 'Never',
    imagePullSecrets: ['theirs'],
    excludedNamespaces: ['db'],
    defaults: { mode: 'redirect', 'cpu-limit': '1' },
  });
  t.is(settings.images.sidecar, operator?.containers[0].image ?? '');
  t.deepEqual(operator?.imagePullSecrets, [{ name: 'ours' }]);
});

const webhooksSchema = z.object({
  webhooks: z.array(
    z.object({
      clientConfig: z.object({ service: z.object({ namespace: z.string() }), caBundle: z.string().optional() }),
      namespaceSelector: z.object({ matchExpressions: z.array(z.object({ key: z.string(), values: z.array(z.string()).optional() })) }),
    }),
  ),
});

test('the webhook is not called for namespaces that injection excludes, and its authority is left to the operator', (t) => {
  const excluding = { excludedNamespaces: ['db', 'kube-system'] };
  const { webhooks } = webhooksSchema.parse(objects({ injection: excluding }, 'elsewhere').at(-1));
  t.is(webhooks.length, 2);
  for (const { clientConfig, namespaceSelector } of webhooks) {
    t.is(clientConfig.service.namespace, 'elsewhere');
    t.is(clientConfig.caBundle, undefined);
    const excluded = namespaceSelector.matchExpressions.find(({ key }) => key === 'kubernetes.io/metadata.name');
    t.deepEqual(excluded?.values, excludedNamespaces(excluding, 'elsewhere'));
  }
});

test('without a gateway nothing of it is installed', (t) => {
  t.deepEqual(
    named(objects({ gateway: { enabled: false } })).filter((name) => name.includes('gateway')),
    [],
  );
});
