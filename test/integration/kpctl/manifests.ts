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
  /** Annotations of its pods. */
  readonly annotations?: string;
}

const server =
  'image: "kpeering/examples:dev", args: [server, "8080"], ports: [{ name: http, containerPort: 8080 }, { name: other, containerPort: 9090 }], readinessProbe: { tcpSocket: { port: http }, periodSeconds: 1 }';

const kpeering = `
        - { name: kpeering-init, image: "kpeering/init:dev" }
        - name: kpeering
          image: kpeering/kpeering:dev
          restartPolicy: Always
          args: [sidecar]
          env:
            - { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
            - { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }`;

/** A Deployment. */
export function deployment(application: Application): string {
  const { name, replicas = 1, sidecar = true, container = server, pod, annotations = '{}' } = application;
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
      initContainers: ${sidecar ? kpeering : '[]'}
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
