import test from 'ava';
import { matchesSelector } from '../../../../src/cluster/label-selector.ts';
import { webhookSelectors } from '../../../../src/operator/injection/index.ts';
import { decide, pod } from './stage.ts';

const labelOf = (value: string | undefined): Readonly<Record<string, string>> =>
  value === undefined ? {} : { 'kpeering.io/inject': value };

for (const [ofPod, ofNamespace, kind] of [
  [undefined, undefined, 'not-requested'],
  [undefined, 'disabled', 'not-requested'],
  [undefined, 'enabled', 'injected'],
  ['enabled', undefined, 'injected'],
  ['enabled', 'disabled', 'injected'],
  ['disabled', 'enabled', 'not-requested'],
  ['disabled', undefined, 'not-requested'],
  ['yes', 'enabled', 'left-alone'],
  ['yes', undefined, 'left-alone'],
  ['', undefined, 'left-alone'],
  [undefined, 'yes', 'left-alone'],
  ['enabled', 'yes', 'injected'],
] as const) {
  test(`pod ${ofPod ?? 'without a label'}, namespace ${ofNamespace ?? 'without one'}: ${kind}`, (t) => {
    const labels = { 'kubernetes.io/metadata.name': 'shop', ...labelOf(ofNamespace) };
    t.is(decide({ pod: pod({ labels: labelOf(ofPod) }), namespace: { labels } }).kind, kind);
    // The API server calls for just those, and for each once.
    const calls = webhookSelectors(['kube-system']).filter(
      ({ namespaceSelector, objectSelector }) =>
        matchesSelector(namespaceSelector, labels) && matchesSelector(objectSelector, labelOf(ofPod)),
    );
    t.is(calls.length, kind === 'not-requested' ? 0 : 1);
  });
}

test('the API server calls for no pod of an excluded namespace', (t) => {
  const labels = { 'kubernetes.io/metadata.name': 'kube-system', 'kpeering.io/inject': 'enabled' };
  for (const { namespaceSelector } of webhookSelectors(['kpeering-system', 'kube-system'])) {
    t.false(matchesSelector(namespaceSelector, labels));
  }
});
