/** Manifests of the kpctl tests, in the words of deploy/examples. */

export interface Application {
  readonly name: string;
  readonly replicas?: number;
  /** Default: with kpeering's init container and sidecar. */
  readonly sidecar?: boolean;
  /** Fields of its container, in YAML's flow style; the default is an HTTP server that says which pod it is. */
  readonly container?: string;
  /** Fields of the pod's specification. */
  readonly pod?: string;
  /** How it is captured: variables of its init container, which also tells the sidecar. Default: redirect mode, all ports, no rules file. */
  readonly capture?: Readonly<Record<string, string>>;
  /** Annotations of its pods. */
  readonly annotations?: string;
}

const server =
  'image: "kpeering/examples:dev", args: [server, "8080"], ports: [{ name: http, containerPort: 8080 }, { name: other, containerPort: 9090 }], readinessProbe: { tcpSocket: { port: http }, periodSeconds: 1 }';

/** By which the rules know the sidecar's own calls, where the lab has a single group. */
const mark = '0x6b70';

function kpeering(capture: Readonly<Record<string, string>> | undefined): string {
  const variables = {
    ...capture,
    ...(capture !== undefined && { KPEERING_RULES_FILE: '/run/kpeering/rules.json', KPEERING_EXEMPT_MARK: mark }),
  };
  const list = Object.entries(variables).map(([name, value]) => `{ name: ${name}, value: ${JSON.stringify(value)} }`);
  const shared = capture === undefined ? '' : 'volumeMounts: [{ name: kpeering, mountPath: /run/kpeering }]';
  const own = list.filter((entry) => /RULES_FILE|EXEMPT_MARK/.test(entry));
  return `
        - { name: kpeering-init, image: "kpeering/init:dev", env: [${list.join(', ')}], ${shared} }
        - name: kpeering
          image: kpeering/kpeering:dev
          restartPolicy: Always
          args: [sidecar]
          ${shared}
          env:
            - { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
            - { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }${own.map((entry) => `\n            - ${entry}`).join('')}`;
}

/** A Deployment. */
export function deployment(application: Application): string {
  const { name, replicas = 1, sidecar = true, container = server, pod, capture, annotations = '{}' } = application;
  return `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} }, annotations: ${annotations} }
    spec:
      terminationGracePeriodSeconds: 1
      ${pod ?? ''}
      ${capture === undefined ? '' : 'volumes: [{ name: kpeering, emptyDir: {} }]'}
      initContainers: ${sidecar ? kpeering(capture) : '[]'}
      containers: [{ name: ${name}, ${container.replaceAll('\n', ' ')} }]
---
`;
}

/** A Service of the Deployment of that name: port 80 leads to \`http\`, 81 to \`other\`. */
export function service(name: string, spec = '', app = name): string {
  return `
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { selector: { app: ${app} }, ${spec} ports: [{ name: http, port: 80, targetPort: http }, { name: second, port: 81, targetPort: 9090 }] }
---
`;
}
