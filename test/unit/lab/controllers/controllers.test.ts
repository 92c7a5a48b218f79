import test from 'ava';
import { reconcileEndpoints, serviceRules } from '../../../../src/lab/controllers/services.ts';
import { reconcileWorkloads } from '../../../../src/lab/controllers/workloads.ts';
import { AddressPool } from '../../../../src/lab/network/addresses.ts';
import { Manifests } from '../../../../src/lab/manifests.ts';
import type { Pod } from '../../../../src/lab/objects/schemas.ts';
import { Store } from '../../../../src/lab/objects/store.ts';

function cluster() {
  const store = new Store();
  const manifests = new Manifests(store, new AddressPool('10.96', 20));
  manifests.apply('{ apiVersion: v1, kind: Namespace, metadata: { name: default } }', '');
  const run = (pod: Pod, ip: string, ready = true): void => {
    const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False' }];
    store.pods.put({ ...pod, status: { ...pod.status, phase: 'Running', podIP: ip, conditions } });
  };
  const settle = (): void => {
    for (let step = 0; step < 5; step++) reconcileWorkloads(store);
    reconcileEndpoints(store);
  };
  const active = (): Pod[] => store.pods.list().filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  return { store, manifests, run, settle, active };
}

const web = (replicas: number, image = 'one'): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: ${image}, ports: [{ name: http, containerPort: 8080 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ name: main, port: 80, targetPort: http }] }
`;

test('a new template makes new pods, and the old ones end once those are ready', (t) => {
  const { store, manifests, run, settle, active } = cluster();
  manifests.apply(web(2), 'default');
  settle();
  t.is(active().length, 2);
  for (const [index, pod] of active().entries()) run(pod, `10.244.0.${index + 2}`);
  settle();
  t.is(store.deployments.get('default', 'web')?.status.readyReplicas, 2);
  const old = new Set(active().map(({ metadata }) => metadata.name));
  manifests.apply(web(2, 'two'), 'default');
  settle();
  t.is(active().length, 4);
  for (const [index, pod] of active().entries()) if (!old.has(pod.metadata.name)) run(pod, `10.244.0.${index + 20}`);
  settle();
  t.deepEqual(
    active().map(({ metadata }) => old.has(metadata.name)),
    [false, false],
  );
});

test('a Service leads to ready pods only, by the port that its targetPort names', (t) => {
  const { store, manifests, run, settle, active } = cluster();
  manifests.apply(web(2), 'default');
  settle();
  const [one, other] = active();
  if (one === undefined || other === undefined) throw new Error('there are two');
  run(one, '10.244.0.2');
  run(other, '10.244.0.3', false);
  settle();
  const address = store.services.get('default', 'web')?.spec.clusterIP ?? '';
  t.deepEqual(serviceRules(store, []), [{ address, port: 80, protocol: 'tcp', endpoints: [{ address: '10.244.0.2', port: 8080 }] }]);
  // Applied again, it keeps its address.
  manifests.apply(web(2), 'default');
  t.is(store.services.get('default', 'web')?.spec.clusterIP, address);
});

test('a manifest of an unknown kind, or for a namespace that is not there, is refused', (t) => {
  const { manifests } = cluster();
  t.throws(() => manifests.apply('{ apiVersion: v1, kind: Thing, metadata: { name: x } }', 'default'), {
    message: /no matches for kind "Thing"/,
  });
  t.throws(() => manifests.apply(web(1), 'nowhere'), { message: 'namespaces "nowhere" not found' });
});
