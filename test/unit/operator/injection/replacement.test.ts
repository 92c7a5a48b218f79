import test from 'ava';
import { applyPatch } from '../../../../src/operator/injection/index.ts';
import { decide, injected, pod } from './stage.ts';

const annotations = { 'kpeering.io/replace': 'web' };

test('a container without a user becomes one of nobody, since an image without a user would not start in a pod with runAsNonRoot', (t) => {
  const { spec } = injected({ pod: pod({ annotations }) });
  t.deepEqual(spec.containers[0]?.securityContext, { runAsUser: 65_534 });
});

test("the user that the container or its pod has stays: the app's files may be that user's", (t) => {
  const ofContainer = injected({ pod: pod({ annotations, container: { securityContext: { runAsUser: 1000 } } }) });
  t.deepEqual(ofContainer.spec.containers[0]?.securityContext, { runAsUser: 1000 });
  const ofPod = injected({ pod: pod({ annotations, spec: { securityContext: { runAsUser: 1000 } } }) });
  t.is(ofPod.spec.containers[0]?.securityContext, undefined);
});

test('the pod says which container was replaced', (t) => {
  t.is(injected({ pod: pod({ annotations }) }).metadata.annotations?.['kpeering.io/replaced'], 'web');
});

test('a container that the pod does not have: the pod is left alone, and starts with its own', (t) => {
  for (const name of ['wbe', 'kpeering']) {
    const decision = decide({ pod: pod({ annotations: { 'kpeering.io/replace': name } }) });
    if (decision.kind !== 'left-alone') return t.fail(decision.kind);
    t.is(decision.reason.code, 'INJECT_REPLACE');
    t.true(decision.reason.format().includes('name one of web'), decision.reason.format());
  }
});

test('a pod that is not to be injected keeps its container, whatever its annotations say', (t) => {
  t.is(decide({ pod: pod({ annotations, labels: { 'kpeering.io/inject': 'disabled' } }) }).kind, 'not-requested');
});

test('another webhook that has put a probe back: it is taken away again', (t) => {
  const first = decide({ pod: pod({ annotations }) });
  const replaced = applyPatch(pod({ annotations }), 'patch' in first ? first.patch : []);
  const changed = applyPatch(replaced, [{ op: 'add', path: '/spec/containers/0/livenessProbe', value: { tcpSocket: { port: 8080 } } }]);
  t.deepEqual(decide({ pod: changed }), { kind: 'injected', patch: [{ op: 'remove', path: '/spec/containers/0/livenessProbe' }] });
});
