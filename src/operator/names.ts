/** What the operator and its objects are called in the cluster. The namespace is the installation's to choose: `kpeering-system` by default. */

/** Of the Deployment, its ServiceAccount, its ClusterRole with its binding, and the Lease by which one replica leads. */
export const OPERATOR_NAME = 'kpeering-operator';

/** Of the gateway's Deployment and its ServiceAccount. */
export const GATEWAY_NAME = 'kpeering-gateway';

/** Of the Service by which the API server calls the webhook. */
export const WEBHOOK_SERVICE = 'kpeering-webhook';

/** Of the MutatingWebhookConfiguration. */
export const WEBHOOK_CONFIGURATION = 'kpeering';

/** Of the Secret with the webhook's certificate. */
export const CERTIFICATE_SECRET = 'kpeering-webhook-certificate';

/** Of the one thing that the webhook answers. */
export const WEBHOOK_PATH = '/mutate';

/** On everything of kpeering's in the cluster. */
export const PART_OF_LABELS = { 'app.kubernetes.io/part-of': 'kpeering' } as const;
