import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { terminatePod } from './controllers/pods.ts';
import { labAddresses, type AddressPool } from './network/addresses.ts';
import type { Service } from './objects/schemas.ts';
import type { AnyCollection, Store } from './objects/store.ts';

const manifestSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
type Manifest = z.infer<typeof manifestSchema>;

/** The objects of a multi-document YAML text, `List`s unfolded. Throws an Error that names what is wrong. */
function readManifests(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const value: unknown = document.toJS();
    if (value === null) return [];
    const list = z.looseObject({ kind: z.literal('List'), items: z.array(manifestSchema) }).safeParse(value);
    return list.success ? list.data.items : [manifestSchema.parse(value)];
  });
}

/** Applies and deletes manifests, as `kubectl apply` and `kubectl delete` do; fills in what the API server would. */
export class Manifests {
  readonly #store: Store;
  readonly #serviceAddresses: AddressPool;

  constructor(store: Store, serviceAddresses: AddressPool) {
    this.#store = store;
    this.#serviceAddresses = serviceAddresses;
  }

  /** `namespace`: of objects that name none. */
  apply(text: string, namespace: string): void {
    for (const manifest of readManifests(text)) {
      const collection = this.#collectionOf(manifest);
      const { name } = manifest.metadata;
      const scope = collection.kind.namespaced ? (manifest.metadata.namespace ?? namespace) : '';
      if (scope !== '' && this.#store.namespaces.get('', scope) === undefined) throw new Error(`namespaces "${scope}" not found`);
      const previous = collection.get(scope, name);
      const metadata = {
        ...(previous !== undefined && { ...previous.metadata, generation: previous.metadata.generation + 1 }),
        labels: {},
        annotations: {},
        ...manifest.metadata,
        ...(scope !== '' && { namespace: scope }),
      };
      const status: unknown = previous?.['status'];
      const object = { ...manifest, metadata, ...(status !== undefined && { status }) };
      collection.admit(this.#completed(object, scope, previous === undefined));
    }
  }

  /** What the API server adds to an object when it is stored, and what admission makes of a new pod. */
  #completed(object: Manifest, namespace: string, isNew: boolean): unknown {
    if (object.kind === 'Service') return this.#withAddress(object, this.#store.services.get(namespace, object.metadata.name));
    return object.kind === 'Pod' && isNew ? this.#store.admitPod(object, namespace) : object;
  }

  delete(text: string, namespace: string): void {
    for (const manifest of readManifests(text)) {
      const collection = this.#collectionOf(manifest);
      this.remove(collection, collection.kind.namespaced ? (manifest.metadata.namespace ?? namespace) : '', manifest.metadata.name);
    }
  }

  /** A pod ends before it is gone; a namespace takes all of its objects along. */
  remove(collection: AnyCollection, namespace: string, name: string): void {
    const { kind } = collection.kind;
    if (kind === 'Pod') {
      const pod = this.#store.pods.get(namespace, name);
      if (pod !== undefined) terminatePod(this.#store, pod);
      return;
    }
    if (kind === 'Service') {
      const address = this.#store.services.get(namespace, name)?.spec.clusterIP;
      if (address !== undefined) this.#serviceAddresses.free(address);
    }
    collection.delete(namespace, name);
    if (kind !== 'Namespace') return;
    for (const other of this.#store.collections) {
      if (other.kind.namespaced) for (const { metadata } of other.list(name)) this.remove(other, name, metadata.name);
    }
  }

  #collectionOf({ apiVersion, kind }: Manifest): AnyCollection {
    const collection = this.#store.collectionOf(apiVersion, kind);
    if (collection === undefined) throw new Error(`no matches for kind "${kind}" in version "${apiVersion}"`);
    return collection;
  }

  #withAddress(object: Readonly<Record<string, unknown>>, previous: Service | undefined): unknown {
    const specSchema = z.looseObject({ type: z.string().optional(), clusterIP: z.string().optional() });
    const spec = specSchema.parse(object['spec']);
    if (spec.type === 'ExternalName' || spec.clusterIP === 'None')
      return { ...object, spec: { ...spec, ...(spec.clusterIP === 'None' && { clusterIPs: ['None'] }) } };
    if (spec.clusterIP !== undefined) this.#serviceAddresses.reserve(spec.clusterIP);
    const kept = previous?.spec.clusterIP === 'None' ? undefined : previous?.spec.clusterIP;
    const clusterIP = spec.clusterIP ?? kept ?? this.#serviceAddresses.take();
    return { ...object, spec: { ...spec, clusterIP, clusterIPs: [clusterIP], ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' } };
  }
}

/** What every cluster has from its start. */
export const systemManifests = `
apiVersion: v1
kind: Namespace
metadata: { name: default, labels: { kubernetes.io/metadata.name: default } }
---
apiVersion: v1
kind: Namespace
metadata: { name: kube-system, labels: { kubernetes.io/metadata.name: kube-system } }
---
apiVersion: v1
kind: Node
metadata: { name: lab, labels: { kubernetes.io/hostname: lab, kubernetes.io/os: linux } }
status:
  addresses: [{ type: InternalIP, address: ${labAddresses.node} }, { type: Hostname, address: lab }]
  conditions: [{ type: Ready, status: "True" }]
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: { name: kubernetes }
spec: { cidrs: [${labAddresses.serviceRange}] }
---
apiVersion: v1
kind: Service
metadata: { name: kubernetes, namespace: default }
spec: { clusterIP: ${labAddresses.kubernetes}, ports: [{ name: https, port: 443, targetPort: ${labAddresses.apiPort} }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: kubernetes, namespace: default, labels: { kubernetes.io/service-name: kubernetes } }
addressType: IPv4
endpoints: [{ addresses: [${labAddresses.node}], conditions: { ready: true } }]
ports: [{ name: https, port: ${labAddresses.apiPort}, protocol: TCP }]
---
apiVersion: v1
kind: Service
metadata: { name: kube-dns, namespace: kube-system, labels: { k8s-app: kube-dns } }
spec:
  clusterIP: ${labAddresses.dns}
  ports: [{ name: dns, port: 53, protocol: UDP }, { name: dns-tcp, port: 53, protocol: TCP }]
`;
