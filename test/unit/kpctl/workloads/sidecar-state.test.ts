import test from 'ava';
import { podSchema, type Pod } from '../../../../src/cluster/pods.ts';
import { sidecarState } from '../../../../src/kpctl/workloads/sidecar-state.ts';

const asks = { 'kpeering.io/inject': 'enabled' };

function pod(sidecar: boolean, labels: Record<string, string> = {}, annotations: Record<string, string> = {}): Pod {
  const containers = [{ name: 'app' }, ...(sidecar ? [{ name: 'kpeering' }] : [])];
  return podSchema.parse({ metadata: { name: 'web-1', labels, annotations }, spec: { containers } });
}
const plain = pod(false);
const injected = pod(true, { 'kpeering.io/injected': 'true' });
const byHand = pod(true);

test('how the pods have come to their sidecars', (t) => {
  t.like(sidecarState({ pods: [injected], labels: asks }, {}), { sidecar: 'injected', restartPending: false });
  t.like(sidecarState({ pods: [byHand], labels: {} }, {}), { sidecar: 'by hand', restartPending: false });
  t.like(sidecarState({ pods: [], labels: asks }, {}), { sidecar: 'none', restartPending: false });
  t.like(sidecarState({ pods: [injected, plain], labels: asks }, {}), { sidecar: 'some pods', withSidecar: 1, restartPending: true });
});

test('pods that are older than the label wait for a restart, in both directions', (t) => {
  t.true(sidecarState({ pods: [plain], labels: asks }, {}).restartPending);
  t.true(sidecarState({ pods: [plain], labels: {} }, asks).restartPending);
  t.false(sidecarState({ pods: [plain], labels: { 'kpeering.io/inject': 'disabled' } }, asks).restartPending);
  t.true(sidecarState({ pods: [injected], labels: {} }, {}).restartPending);
  // whether the namespace asks is not known
  t.false(sidecarState({ pods: [injected], labels: {} }, undefined).restartPending);
});

test('a pod that was left alone says why, and waits for nothing', (t) => {
  const reason = 'the pod has hostNetwork [INJECT_HOST_NETWORK]';
  const left = pod(false, {}, { 'kpeering.io/not-injected': reason });
  t.like(sidecarState({ pods: [left], labels: asks }, {}), { sidecar: 'none', refused: reason, restartPending: false });
});
