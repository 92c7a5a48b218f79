import type { z } from 'zod';
import { Collection, type ApiKind, type StoreEvent, type VersionCounter } from './collection.ts';
import {
  configurationSchema,
  daemonSetSchema,
  deploymentSchema,
  endpointSliceSchema,
  jobSchema,
  plainSchema,
  podSchema,
  replicaSetSchema,
  secretSchema,
  serviceSchema,
  statefulSetSchema,
  type LabObject,
} from './schemas.ts';

/** What the API needs of a collection of whatever kind. */
export interface AnyCollection {
  readonly kind: Omit<ApiKind<LabObject>, 'schema'>;
  readonly version: number;
  get(namespace: string, name: string): LabObject | undefined;
  list(namespace?: string): LabObject[];
  admit(value: unknown): LabObject;
  delete(namespace: string, name: string): LabObject | undefined;
  since(version: number): readonly StoreEvent<LabObject>[] | undefined;
  compact(): void;
  onChange(listener: (event: StoreEvent<LabObject>) => void): () => void;
}

/** `'Deployment deployments deployment deploy' , 'apps/v1'` as a kind. */
function define<T extends LabObject>(names: string, apiVersion: string, schema: z.ZodType<T>, namespaced = true): ApiKind<T> {
  const [kind = '', plural = '', singular = '', ...shortNames] = names.split(' ');
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  return { kind, plural, singular, shortNames, group: group ?? '', version: version ?? '', namespaced, schema };
}

/**
 * What a mutating webhook is in a real cluster: a pod that is about to be created, with its namespace's labels and annotations, and what it becomes.
 * May throw: the pod is stored as it was.
 */
export type PodAdmission = (pod: unknown, namespace: AdmittingNamespace) => unknown;

export interface AdmittingNamespace {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** All objects of the lab's cluster, one collection for each kind, under one resourceVersion. */
export class Store {
  readonly #counter: VersionCounter = { current: 1 };
  readonly #admission: PodAdmission;
  readonly namespaces = this.#collect(define('Namespace namespaces namespace ns', 'v1', plainSchema, false));
  readonly nodes = this.#collect(define('Node nodes node no', 'v1', plainSchema, false));
  readonly pods = this.#collect(define('Pod pods pod po', 'v1', podSchema));
  readonly services = this.#collect(define('Service services service svc', 'v1', serviceSchema));
  readonly configMaps = this.#collect(define('ConfigMap configmaps configmap cm', 'v1', configurationSchema));
  readonly secrets = this.#collect(define('Secret secrets secret', 'v1', secretSchema));
  readonly serviceAccounts = this.#collect(define('ServiceAccount serviceaccounts serviceaccount sa', 'v1', plainSchema));
  readonly deployments = this.#collect(define('Deployment deployments deployment deploy', 'apps/v1', deploymentSchema));
  readonly replicaSets = this.#collect(define('ReplicaSet replicasets replicaset rs', 'apps/v1', replicaSetSchema));
  readonly statefulSets = this.#collect(define('StatefulSet statefulsets statefulset sts', 'apps/v1', statefulSetSchema));
  readonly daemonSets = this.#collect(define('DaemonSet daemonsets daemonset ds', 'apps/v1', daemonSetSchema));
  readonly jobs = this.#collect(define('Job jobs job', 'batch/v1', jobSchema));
  readonly endpointSlices = this.#collect(define('EndpointSlice endpointslices endpointslice', 'discovery.k8s.io/v1', endpointSliceSchema));
  readonly serviceCidrs = this.#collect(define('ServiceCIDR servicecidrs servicecidr', 'networking.k8s.io/v1', plainSchema, false));

  readonly collections: readonly AnyCollection[] = [
    this.namespaces,
    this.nodes,
    this.pods,
    this.services,
    this.configMaps,
    this.secrets,
    this.serviceAccounts,
    this.deployments,
    this.replicaSets,
    this.statefulSets,
    this.daemonSets,
    this.jobs,
    this.endpointSlices,
    this.serviceCidrs,
  ];

  constructor(admission: PodAdmission = (pod) => pod) {
    this.#admission = admission;
  }

  /** What a new pod of a namespace becomes at its admission. */
  admitPod(pod: unknown, namespace: string): unknown {
    const { labels = {}, annotations = {} } = this.namespaces.get('', namespace)?.metadata ?? {};
    return this.#admission(pod, { name: namespace, labels, annotations });
  }

  #collect<T extends LabObject>(kind: ApiKind<T>): Collection<T> {
    return new Collection(kind, this.#counter);
  }

  /** The collection of a manifest's `apiVersion` and `kind`, or undefined. */
  collectionOf(apiVersion: string, kind: string): AnyCollection | undefined {
    return this.collections.find((one) => one.kind.kind === kind && apiVersionOf(one.kind) === apiVersion);
  }

  /** Called after each change of whatever kind; returns the function that unsubscribes. */
  onChange(listener: () => void): () => void {
    const ends = this.collections.map((collection) => collection.onChange(listener));
    return () => {
      for (const end of ends) end();
    };
  }
}

/** `apps/v1`, `v1`. */
export function apiVersionOf({ group, version }: { readonly group: string; readonly version: string }): string {
  return group === '' ? version : `${group}/${version}`;
}
