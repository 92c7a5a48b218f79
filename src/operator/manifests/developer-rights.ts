import { GATEWAY_NAME, OPERATOR_NAME } from '../names.ts';
import type { Rule } from '../rights.ts';

/** What a feature of kpctl may ask of the API, in the workload's namespace. */
export interface Feature {
  /** As docs/rights.md calls it. */
  readonly name: string;
  readonly rules: readonly Rule[];
}

const workloads = [
  { apiGroups: ['apps'], resources: ['deployments', 'statefulsets', 'daemonsets', 'replicasets'] },
  { apiGroups: ['batch'], resources: ['jobs'] },
] as const;

const templates = { apiGroups: ['apps'], resources: ['deployments', 'statefulsets', 'daemonsets', 'replicasets'] } as const;

/**
 * Feature by feature, each with the least that it works with; those after the first assume it. Together they are the ClusterRole
 * `kpeering-developer`. docs/rights.md has the same table (a test compares them).
 */
export const developerFeatures: readonly Feature[] = [
  {
    name: 'list, intercept, run',
    rules: [
      ...workloads.map((rule) => ({ ...rule, verbs: ['get', 'list', 'watch'] })),
      { apiGroups: [''], resources: ['pods', 'services'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: [''], resources: ['pods/portforward'], verbs: ['create'] },
    ],
  },
  { name: '--transport websocket', rules: [{ apiGroups: [''], resources: ['pods/portforward'], verbs: ['get'] }] },
  { name: 'env, run -w', rules: [{ apiGroups: [''], resources: ['configmaps', 'secrets'], verbs: ['get'] }] },
  { name: 'run --files', rules: [{ apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] }] },
  {
    name: 'inject, eject, intercept --inject',
    rules: [
      { ...templates, verbs: ['patch'] },
      { apiGroups: [''], resources: ['namespaces'], verbs: ['get'] },
    ],
  },
  { name: 'intercept --ephemeral', rules: [{ apiGroups: [''], resources: ['pods/ephemeralcontainers'], verbs: ['patch'] }] },
  {
    name: 'intercept --replace',
    rules: [
      { ...templates, verbs: ['patch'] },
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'create', 'patch', 'delete'] },
    ],
  },
  {
    name: 'doctor, logs --gather',
    rules: [
      { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
      { apiGroups: [''], resources: ['events'], verbs: ['list'] },
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['list'] },
    ],
  },
];

/** In kpeering's own namespace, for `kpctl run` without a workload: the gateway is found, and reached. */
export const gatewayUserRules: readonly Rule[] = [
  { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: [''], resources: ['pods/portforward'], verbs: ['get', 'create'] },
];

/** All that a developer may do there: also see whether the operator is well, and which image `--ephemeral` is to take. The Role `kpeering-user`. */
export const userRules: readonly Rule[] = [
  ...gatewayUserRules,
  { apiGroups: ['apps'], resources: ['deployments'], resourceNames: [OPERATOR_NAME, GATEWAY_NAME], verbs: ['get'] },
];

/** The rules of some features as one list: one rule for each resource, its verbs together. */
export function mergeRules(rules: readonly Rule[]): readonly Rule[] {
  const merged = new Map<
    string,
    { readonly apiGroups: readonly string[]; readonly resources: string[]; readonly verbs: readonly string[] }
  >();
  const verbsOf = new Map<string, Set<string>>();
  for (const { apiGroups, resources, verbs } of rules) {
    for (const group of apiGroups) {
      for (const resource of resources) {
        const key = `${group}/${resource}`;
        const known = verbsOf.get(key) ?? new Set<string>();
        for (const verb of verbs) known.add(verb);
        verbsOf.set(key, known);
      }
    }
  }
  for (const [key, verbs] of verbsOf) {
    const [group = '', ...resource] = key.split('/');
    const list = [...verbs].toSorted((one, other) => order.indexOf(one) - order.indexOf(other));
    const alike = `${group} ${list.join(',')}`;
    const rule = merged.get(alike) ?? { apiGroups: [group], resources: [], verbs: list };
    rule.resources.push(resource.join('/'));
    merged.set(alike, rule);
  }
  return [...merged.values()];
}

const order = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'];
