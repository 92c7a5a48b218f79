import test from 'ava';
import { injectionCheck } from '../../../../src/kpctl/doctor/checks/injection.ts';
import { leftoversInClusterCheck } from '../../../../src/kpctl/doctor/checks/leftovers-in-cluster.ts';
import { namespaceCheck } from '../../../../src/kpctl/doctor/checks/namespace.ts';
import { healthy, lines, look, pod } from './imitation.ts';

const { objects } = healthy;
const namespace = (labels: Readonly<Record<string, string>>) => [{ metadata: { name: 'shop', labels } }];

test('Pod Security and the label of the namespace', async (t) => {
  t.deepEqual(lines(await look(namespaceCheck, healthy)), [
    'ok Pod Security lets pods of namespace shop be injected',
    'ok namespace shop leaves it to each workload (kpctl inject) to be injected',
  ]);
  const strict = { 'pod-security.kubernetes.io/enforce': 'baseline', 'kpeering.io/inject': 'yes' };
  const seen = await look(namespaceCheck, { objects: { ...objects, namespaces: namespace(strict) } });
  t.regex(lines(seen)[0] ?? '', /^warning namespace shop enforces the Pod Security level baseline/);
  t.is(lines(seen)[1], 'warning the label kpeering.io/inject of namespace shop is "yes"');
});

test('a namespace that is not there, is ours, or may not be read', async (t) => {
  t.regex(lines(await look(namespaceCheck, { objects: {} }))[0] ?? '', /^problem there is no namespace shop/);
  t.regex(lines(await look(namespaceCheck, { hidden: ['namespaces'] }))[0] ?? '', /^unknown you may not read namespace shop/);
  const system = { namespace: 'kube-system', objects: { ...objects, namespaces: [{ metadata: { name: 'kube-system' } }] } };
  t.deepEqual(lines(await look(namespaceCheck, system)), ['note pods of namespace kube-system are never injected']);
});

test('pods that were left alone say why, with what has them made anew', async (t) => {
  const annotations = { 'kpeering.io/not-injected': 'the pod has hostNetwork [INJECT_HOST_NETWORK]' };
  const seen = await look(injectionCheck, { objects: { ...objects, pods: [pod('web-1', { annotations })] } });
  t.deepEqual(lines(seen), ['warning pod web-1: the operator has left it alone: the pod has hostNetwork [INJECT_HOST_NETWORK]']);
  t.is(seen[0]?.fix, 'mend that, then: kubectl -n shop rollout restart deployment/web');
});

test('pods that ask for kpeering and have none were made while the operator was down', async (t) => {
  const asks = { 'kpeering.io/inject': 'enabled' };
  const pods = [
    pod('web-1', { labels: asks }),
    pod('web-2', { labels: asks, sidecar: 'running' }),
    pod('web-3'),
    pod('web-4', { labels: asks, phase: 'Succeeded' }),
    pod('web-5', { labels: { 'kpeering.io/inject': 'yes' } }),
  ];
  const seen = lines(await look(injectionCheck, { objects: { ...objects, pods } }));
  t.is(seen.length, 2);
  t.regex(seen[0] ?? '', /^warning pod web-1: its label asks for kpeering, and it has none: it was made while the operator did not answer/);
  t.regex(seen[1] ?? '', /^warning pod web-5: .*INJECT_LABEL/);
  const byNamespace = lines(await look(injectionCheck, { objects: { ...objects, namespaces: namespace(asks), pods: pods.slice(1, 3) } }));
  t.is(byNamespace.length, 1);
  t.regex(byNamespace[0] ?? '', /^warning pod web-3: its namespace's label asks for kpeering/);
});

test('all pods as they were asked for', async (t) => {
  t.deepEqual(lines(await look(injectionCheck, healthy)), ['ok 1 of 1 pods are injected, and no other one asks for it']);
  t.regex(lines(await look(injectionCheck, { ...healthy, hidden: ['namespaces'] }))[1] ?? '', /^unknown whether namespace shop asks/);
});

test('what is left over: a replacement without its session, entries of ephemeral containers, injected pods without an operator', async (t) => {
  t.deepEqual(lines(await look(leftoversInClusterCheck, healthy)), ['ok nothing is left over in namespace shop']);
  const replaced = (name: string, session: string) => ({
    metadata: { name, namespace: 'shop', labels: { 'kpeering.io/replaced': 'true' } },
    spec: {
      selector: {},
      template: {
        metadata: { annotations: { 'kpeering.io/replace-lease': session, 'kpeering.io/replace': 'app' } },
        spec: { containers: [] },
      },
    },
  });
  const session = (name: string, workload: string, secondsAgo: number) => ({
    metadata: { name, namespace: 'shop', annotations: { 'kpeering.io/workload': workload } },
    spec: { renewTime: new Date(Date.now() - secondsAgo * 1000).toISOString(), leaseDurationSeconds: 20 },
  });
  const seen = await look(leftoversInClusterCheck, {
    objects: {
      statefulsets: [replaced('orphan', 'gone'), replaced('served', 'alive')],
      leases: [session('alive', 'statefulset/served', 2), session('old', 'deployment/worker', 300)],
      pods: [pod('web-1', { sidecar: 'running' }), pod('web-2', { ephemeral: ['kpeering-abc', 'kpeering-def', 'debugger'] })],
    },
  });
  t.deepEqual(lines(seen).toSorted(), [
    'note pod web-2: 2 entries of ephemeral containers of ours; one of them runs, idle or in use, and ends after an hour unused',
    'warning deployment/worker: a container of it is replaced, and the kpctl that did it is gone',
    'warning pod web-1: it is injected, and there is no operator in this cluster any more',
    'warning statefulset/orphan: a container of it is replaced, and the kpctl that did it is gone',
  ]);
});
