import { ports } from '../../platform/ports.ts';
import { webhookSelectors } from '../injection/index.ts';
import { OPERATOR_NAME, WEBHOOK_CONFIGURATION, WEBHOOK_PATH, WEBHOOK_SERVICE } from '../names.ts';
import { clusterRules, namespaceRules } from '../rights.ts';
import { json, namespace, union, value, type Expression, type TreeMap } from './expressions.ts';
import { labelsOf, selectorLabels } from './labels.ts';
import { deployment, disruptionBudget, image } from './pods.ts';
import { binding, role, serviceAccount } from './rights-objects.ts';

export const operatorAccess: readonly TreeMap[] = [
  serviceAccount(OPERATOR_NAME, 'operator'),
  role('ClusterRole', OPERATOR_NAME, 'operator', clusterRules),
  binding('ClusterRole', OPERATOR_NAME, 'operator'),
  role('Role', OPERATOR_NAME, 'operator', namespaceRules),
  binding('Role', OPERATOR_NAME, 'operator'),
];

/** As the operator reads them (`settings.ts`). In the Deployment itself, so that a change of them replaces its pods. */
const settings: Expression = json({
  images: { init: image('init'), sidecar: image('kpeering') },
  pullPolicy: value('pullPolicy'),
  imagePullSecrets: value('injection.imagePullSecrets'),
  excludedNamespaces: value('injection.excludedNamespaces'),
  defaults: value('injection.defaults'),
});

export const operatorObjects: readonly TreeMap[] = [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: WEBHOOK_SERVICE, namespace, labels: labelsOf('operator') },
    spec: {
      selector: selectorLabels('operator'),
      ports: [{ name: 'https', port: 443, targetPort: 'webhook', protocol: 'TCP' }],
    },
  },
  deployment({
    component: 'operator',
    name: OPERATOR_NAME,
    serviceAccount: true,
    env: [{ name: 'KPEERING_SETTINGS', value: settings }],
    ports: [{ name: 'webhook', containerPort: ports.webhook }],
  }),
  disruptionBudget('operator', OPERATOR_NAME),
];

/** As `settings.ts` says: these always, and those of the values. */
const excluded = union(['kube-system', namespace], value('injection.excludedNamespaces'));

/** The last that is installed, and the first that goes. Without caBundle, which is the operator's: an update must not take it away. */
export const webhookConfiguration: TreeMap = {
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'MutatingWebhookConfiguration',
  metadata: { name: WEBHOOK_CONFIGURATION, labels: labelsOf('operator') },
  webhooks: webhookSelectors([]).map(({ name, namespaceSelector, objectSelector }) => ({
    name,
    clientConfig: { service: { name: WEBHOOK_SERVICE, namespace, path: WEBHOOK_PATH, port: 443 } },
    rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], scope: 'Namespaced' }],
    namespaceSelector: selector(namespaceSelector),
    objectSelector: selector(objectSelector),
    failurePolicy: 'Ignore',
    matchPolicy: 'Equivalent',
    reinvocationPolicy: 'IfNeeded',
    sideEffects: 'NoneOnDryRun',
    timeoutSeconds: 5,
    admissionReviewVersions: ['v1'],
  })),
};

type Selector = ReturnType<typeof webhookSelectors>[number]['objectSelector'];

/** The selectors of injection, with the namespaces that are known only here. */
function selector({ matchExpressions }: Selector): TreeMap {
  return {
    matchExpressions: matchExpressions.map(({ key, operator, values }) => {
      if (key === 'kubernetes.io/metadata.name') return { key, operator, values: excluded };
      return { key, operator, ...(values.length > 0 && { values }) };
    }),
  };
}
