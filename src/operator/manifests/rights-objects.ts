import type { Rule } from '../rights.ts';
import { namespace, type TreeMap } from './expressions.ts';
import { labelsOf, type Component } from './labels.ts';

type Kind = 'ClusterRole' | 'Role';

export function serviceAccount(name: string, component: Component): TreeMap {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace, labels: labelsOf(component) } };
}

export function role(kind: Kind, name: string, component: Component, rules: readonly Rule[]): TreeMap {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind,
    metadata: { name, ...placeOf(kind), labels: labelsOf(component) },
    rules: rules.map(({ apiGroups, resources, resourceNames, verbs }) => ({
      apiGroups,
      resources,
      ...(resourceNames !== undefined && { resourceNames }),
      verbs,
    })),
  };
}

/** Of the role to the ServiceAccount of the same name. */
export function binding(kind: Kind, name: string, component: Component): TreeMap {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: `${kind}Binding`,
    metadata: { name, ...placeOf(kind), labels: labelsOf(component) },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name },
    subjects: [{ kind: 'ServiceAccount', name, namespace }],
  };
}

function placeOf(kind: Kind): TreeMap {
  return kind === 'Role' ? { namespace } : {};
}
