import { existsSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { clusterSchema, userSchema } from './kubeconfig-schema.ts';
import type { ContextSettings } from './kubeconfig-schema.ts';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The service account of the pod that we run in (kubernetes.io, Accessing the Kubernetes API from a Pod), or undefined outside one. */
export function inClusterConfig(folder: string = SERVICE_ACCOUNT): ContextSettings | undefined {
  const host = process.env['KUBERNETES_SERVICE_HOST'];
  const port = process.env['KUBERNETES_SERVICE_PORT'];
  const token = join(folder, 'token');
  if (host === undefined || host === '' || port === undefined || !existsSync(token)) return undefined;
  const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const namespaceFile = join(folder, 'namespace');
  return {
    context: 'in-cluster',
    namespace: existsSync(namespaceFile) ? readFileSync(namespaceFile, 'utf8').trim() : undefined,
    server,
    cluster: clusterSchema.parse({ server, 'certificate-authority': join(folder, 'ca.crt') }),
    user: userSchema.parse({ tokenFile: token }),
    userName: 'service account',
  };
}
