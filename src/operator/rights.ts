import { CERTIFICATE_SECRET, OPERATOR_NAME, WEBHOOK_CONFIGURATION } from './names.ts';

/** `rbac.authorization.k8s.io/v1 PolicyRule`. */
export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** What the operator may do in the whole cluster (ClusterRole), and why. docs/operator.md has the same list. */
export const clusterRules: readonly Rule[] = [
  // A pod's namespace has a say in its injection.
  { apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'list', 'watch'] },
  // An Event is told of the workload, which is the owner of a pod's owner; of a pod without one, of the pod.
  { apiGroups: ['apps'], resources: ['replicasets'], verbs: ['get'] },
  { apiGroups: ['batch'], resources: ['jobs'], verbs: ['get'] },
  // The capture of injected pods is proved, and told in a condition of theirs.
  { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: [''], resources: ['pods/status'], verbs: ['patch'] },
  // A workload is put back when the Lease of the session that has replaced a container of it lapses.
  { apiGroups: ['apps'], resources: ['deployments', 'statefulsets', 'daemonsets'], verbs: ['get', 'list', 'watch', 'patch'] },
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'list', 'watch', 'delete'] },
  { apiGroups: [''], resources: ['events'], verbs: ['get', 'create', 'patch'] },
  // The caBundle of our webhook.
  {
    apiGroups: ['admissionregistration.k8s.io'],
    resources: ['mutatingwebhookconfigurations'],
    resourceNames: [WEBHOOK_CONFIGURATION],
    verbs: ['get', 'list', 'watch', 'patch'],
  },
];

/** What it may do in its own namespace (Role). */
export const namespaceRules: readonly Rule[] = [
  // The webhook's certificate. A right to create cannot be restricted to a name.
  { apiGroups: [''], resources: ['secrets'], resourceNames: [CERTIFICATE_SECRET], verbs: ['get', 'list', 'watch', 'patch'] },
  { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
  // Which replica leads.
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], resourceNames: [OPERATOR_NAME], verbs: ['get', 'patch'] },
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
  // Its own Deployment owns what it makes, and tells which pods are its replicas, which the leader asks for their certificates.
  { apiGroups: ['apps'], resources: ['deployments'], resourceNames: [OPERATOR_NAME], verbs: ['get'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
];
