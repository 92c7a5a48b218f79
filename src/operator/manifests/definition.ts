import { GATEWAY_NAME } from '../names.ts';
import { developerFeatures, userRules, mergeRules } from './developer-rights.ts';
import { namespace, value, when, type Conditional, type Expression, type TreeMap } from './expressions.ts';
import { labelsOf } from './labels.ts';
import { operatorAccess, operatorObjects, webhookConfiguration } from './operator-objects.ts';
import { deployment, disruptionBudget } from './pods.ts';
import { role, serviceAccount } from './rights-objects.ts';

/** Bound by a cluster's administrator, with a RoleBinding in each namespace that a developer works in. */
export const DEVELOPER_ROLE = 'kpeering-developer';
/** Bound in kpeering's own namespace. */
export const USER_ROLE = 'kpeering-user';

/** What is installed, in this order; taken away in the opposite one. */
export interface Group {
  /** The chart's template. */
  readonly name: string;
  readonly objects: readonly (TreeMap | Conditional)[];
}

/** The namespace itself; Helm makes its own (`--create-namespace`). What is in it passes `restricted`. */
export const namespaceObject: TreeMap = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: namespace, labels: { ...labelsOf('namespace'), 'pod-security.kubernetes.io/enforce': 'restricted' } },
};

const gatewayEnabled: Expression = value('gateway.enabled');

/** Everything that an installation is made of. */
export const groups: readonly Group[] = [
  {
    name: 'access',
    objects: [
      ...operatorAccess,
      role('ClusterRole', DEVELOPER_ROLE, 'access', mergeRules(developerFeatures.flatMap(({ rules }) => rules))),
      role('Role', USER_ROLE, 'access', userRules),
    ],
  },
  {
    name: 'gateway',
    objects: [
      serviceAccount(GATEWAY_NAME, 'gateway'),
      deployment({ component: 'gateway', name: GATEWAY_NAME, serviceAccount: false, env: [], ports: [] }),
      disruptionBudget('gateway', GATEWAY_NAME),
    ].map((object) => when(gatewayEnabled, object)),
  },
  { name: 'operator', objects: operatorObjects },
  { name: 'webhook', objects: [webhookConfiguration] },
];
