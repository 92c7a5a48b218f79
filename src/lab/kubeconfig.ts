import { stringify } from 'yaml';

export interface KubeconfigOptions {
  readonly server: string;
  /** PEM. */
  readonly authority: string;
  readonly token: string;
  readonly user: string;
  readonly namespace: string;
}

/** A kubeconfig (clientcmd/api/v1) with one context, `lab`, that reaches the server with a bearer token. */
export function kubeconfigText({ server, authority, token, user, namespace }: KubeconfigOptions): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'lab',
    clusters: [{ name: 'lab', cluster: { server, 'certificate-authority-data': Buffer.from(authority).toString('base64') } }],
    users: [{ name: user, user: { token } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user, namespace } }],
  });
}
