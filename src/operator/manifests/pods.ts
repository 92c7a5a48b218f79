import { ports } from '../../platform/ports.ts';
import { choice, each, element, namespace, text, value, when, type Expression, type Tree, type TreeMap } from './expressions.ts';
import { labelsOf, podLabels, selectorLabels, type Component } from './labels.ts';

/** An image's name with the registry before it, where one is set. */
export function image(of: 'kpeering' | 'init'): Expression {
  const name = value(`images.${of}`);
  return choice(value('registry'), text`${value('registry')}/${name}`, name);
}

interface DeploymentOf {
  readonly component: 'operator' | 'gateway';
  readonly name: string;
  readonly serviceAccount: boolean;
  readonly env: readonly TreeMap[];
  readonly ports: readonly TreeMap[];
}

/** A Deployment of kpeering's own program. Its pods pass the Pod Security level `restricted`. */
export function deployment({ component, name, serviceAccount, env, ports: containerPorts }: DeploymentOf): TreeMap {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels: labelsOf(component) },
    spec: {
      replicas: value(`${component}.replicas`),
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      selector: { matchLabels: selectorLabels(component) },
      template: {
        metadata: {
          labels: podLabels(component),
          // kubectl logs and exec take it without -c
          annotations: { 'kubectl.kubernetes.io/default-container': 'kpeering' },
        },
        spec: {
          serviceAccountName: name,
          automountServiceAccountToken: serviceAccount,
          // The Service kpeering-webhook would set KPEERING_WEBHOOK_PORT, which is a variable of ours.
          enableServiceLinks: false,
          imagePullSecrets: when(value('imagePullSecrets'), each(value('imagePullSecrets'), { name: element })),
          priorityClassName: when(value(`${component}.priorityClassName`), value(`${component}.priorityClassName`)),
          nodeSelector: when(value(`${component}.nodeSelector`), value(`${component}.nodeSelector`)),
          tolerations: when(value(`${component}.tolerations`), value(`${component}.tolerations`)),
          topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map((topologyKey) =>
            spread(component, topologyKey),
          ),
          securityContext: {
            runAsUser: nonRoot,
            runAsGroup: nonRoot,
            runAsNonRoot: true,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          containers: [container(component, env, containerPorts)],
        },
      },
    },
  };
}

/** Of its pods one at a time may be taken away: a drained node waits for the successor of each. */
export function disruptionBudget(component: 'operator' | 'gateway', name: string): TreeMap {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name, namespace, labels: labelsOf(component) },
    // Not minAvailable: with one replica that would keep its node from being drained.
    spec: { maxUnavailable: 1, selector: { matchLabels: selectorLabels(component) } },
  };
}

/** What images call `nonroot`. Not the sidecar's own group, by which rules know it: there are no rules here. */
const nonRoot = 65_532;

function container(component: 'operator' | 'gateway', env: readonly TreeMap[], containerPorts: readonly TreeMap[]): Tree {
  return {
    name: 'kpeering',
    image: image('kpeering'),
    imagePullPolicy: value('pullPolicy'),
    args: [component],
    env: [
      { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
      { name: 'KPEERING_LOG', value: value('logLevel') },
      ...env,
    ],
    ports: [...containerPorts, { name: 'kp-health', containerPort: ports.health }],
    readinessProbe: { httpGet: { path: '/readyz', port: 'kp-health' }, periodSeconds: 2 },
    livenessProbe: { httpGet: { path: '/healthz', port: 'kp-health' }, periodSeconds: 10, timeoutSeconds: 5 },
    resources: value(`${component}.resources`),
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
  };
}

/** On different nodes, and in different zones, where there are some. */
function spread(component: Component, topologyKey: string): TreeMap {
  return {
    maxSkew: 1,
    topologyKey,
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: selectorLabels(component) },
  };
}
