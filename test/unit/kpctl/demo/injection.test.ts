import test from 'ava';
import { z } from 'zod';
import { injectByLabel } from '../../../../src/kpctl/demo/injection.ts';

const podSchema = z.looseObject({
  metadata: z.looseObject({ annotations: z.record(z.string(), z.string()).default({}) }),
  spec: z.looseObject({ initContainers: z.array(z.looseObject({ name: z.string() })).default([]) }),
});
const shop = { name: 'shop', labels: {}, annotations: {} };

function podWith(labels: Readonly<Record<string, string>>, spec: object = {}): unknown {
  return { metadata: { labels }, spec: { containers: [{ name: 'app', image: 'app', ports: [{ containerPort: 8080 }] }], ...spec } };
}

test('the lab injects the pods that ask for it, by their own label or their namespace’s, and no others', (t) => {
  const names = (pod: unknown, labels: Readonly<Record<string, string>> = {}): readonly string[] =>
    podSchema.parse(injectByLabel(pod, { ...shop, labels })).spec.initContainers.map(({ name }) => name);
  const enabled = { 'kpeering.io/inject': 'enabled' };
  t.deepEqual(names(podWith(enabled)), ['kpeering-init', 'kpeering']);
  t.deepEqual(names(podWith({}), enabled), ['kpeering-init', 'kpeering']);
  t.deepEqual(names(podWith({ 'kpeering.io/inject': 'disabled' }), enabled), []);
  t.deepEqual(names(podWith({})), []);
});

test('a pod that the lab cannot inject says why, and is otherwise as it was', (t) => {
  const admitted = podSchema.parse(injectByLabel(podWith({ 'kpeering.io/inject': 'enabled' }, { hostNetwork: true }), shop));
  t.regex(admitted.metadata.annotations['kpeering.io/not-injected'] ?? '', /INJECT_/u);
  t.deepEqual(admitted.spec.initContainers, []);
});
