import { pods as podResource, type Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { mutatingWebhookConfigurations } from '../../cluster/webhooks.ts';
import { isReady } from '../../cluster/workloads.ts';
import { WEBHOOK_CONFIGURATION } from '../../operator/names.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { LinkedPod } from '../links/pod-link.ts';
import { podKey, type ChooseOptions } from './shunned-pods.ts';

/** Where a gateway is looked for after the user's own namespace. */
const SYSTEM_NAMESPACE = 'kpeering-system';
/** What the gateway's pods have in common. */
export const GATEWAY_SELECTOR = 'kpeering.io/role=gateway';

/**
 * A ready gateway pod: in the namespace in use, else in `kpeering-system`, else where kpeering is installed, as far as the user may see that. Of several any one,
 * so that laptops spread over them. Fails with GATEWAY_MISSING, which names `-w`; a namespace whose pods may not be listed counts as one without a gateway.
 */
export async function findGateway(cluster: Cluster, options: ChooseOptions = {}): Promise<LinkedPod> {
  const looked = new Map<string, readonly Pod[] | Failure>();
  for (const find of [
    async () => cluster.namespace,
    async () => SYSTEM_NAMESPACE,
    async () => await installedNamespace(cluster, options),
  ]) {
    const namespace = await find();
    if (namespace === undefined || looked.has(namespace)) continue;
    const found = await gatewaysIn(cluster, namespace, options);
    looked.set(namespace, found);
    const pod = found instanceof Failure ? undefined : chooseReady(found, namespace, options);
    if (pod !== undefined) return pod;
  }
  throw missing(looked);
}

/** One of the ready pods, at random; one that is to be avoided only where there is no other. */
export function chooseReady(pods: Iterable<Pod>, namespace: string, { avoid }: ChooseOptions = {}): LinkedPod | undefined {
  const ready: LinkedPod[] = [...pods]
    .filter((pod) => isReady(pod))
    .map(({ metadata }) => ({ namespace, name: metadata.name, ...(metadata.uid !== undefined && { uid: metadata.uid }) }));
  const wanted = ready.filter((pod) => avoid?.has(podKey(pod)) !== true);
  const among = wanted.length > 0 ? wanted : ready;
  return among[Math.floor(Math.random() * among.length)];
}

async function gatewaysIn(cluster: Cluster, namespace: string, { signal }: AbortOptions): Promise<readonly Pod[] | Failure> {
  try {
    return await cluster.list(podResource, { namespace, labelSelector: GATEWAY_SELECTOR, ...(signal !== undefined && { signal }) });
  } catch (error) {
    if (error instanceof Failure && (error.code === 'API_FORBIDDEN' || error.code === 'NOT_FOUND')) return error;
    throw error;
  }
}

/** By the webhook's configuration, which belongs to the whole cluster; undefined: there is none, or it may not be read. */
async function installedNamespace(cluster: Cluster, { signal }: AbortOptions): Promise<string | undefined> {
  try {
    const found = await cluster.get(mutatingWebhookConfigurations, WEBHOOK_CONFIGURATION, signal === undefined ? {} : { signal });
    return found.webhooks[0]?.clientConfig.service?.namespace;
  } catch (error) {
    if (error instanceof Failure && (error.code === 'API_FORBIDDEN' || error.code === 'NOT_FOUND')) return undefined;
    throw error;
  }
}

function missing(looked: ReadonlyMap<string, readonly Pod[] | Failure>): Failure {
  const instead = 'or name a workload that has a sidecar, whose pod is the exit then: kpctl run -w WORKLOAD -- COMMAND';
  const what = `no ready gateway in namespace ${[...looked.keys()].join(' nor in ')}`;
  const forbidden = [...looked].flatMap(([namespace, found]) =>
    found instanceof Failure && found.code === 'API_FORBIDDEN' ? [{ namespace, found }] : [],
  );
  const last = forbidden.at(-1);
  if (last === undefined) {
    return new Failure('GATEWAY_MISSING', what, {
      remedy: `run "kpctl install", where kpeering is not installed or has its gateway switched off; ${instead}`,
    });
  }
  return new Failure('GATEWAY_MISSING', `${what}, as far as you may see`, {
    likely: last.found.message,
    remedy: `have somebody give you the role: kubectl -n ${last.namespace} create rolebinding NAME --role=kpeering-user --user=YOU; ${instead}`,
  });
}
