import { pods, type ContainerStatus, type Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { ephemeralEntries, isAlive } from '../../cluster/workloads.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { ports } from '../../platform/ports.ts';

/** From nothing to running, an image of 75 MiB fetched on the way. */
const START_MILLISECONDS = 120_000;
/** From running to serving. */
const SERVE_MILLISECONDS = 20_000;
const ASK_MILLISECONDS = 3_000;
const PAUSE_MILLISECONDS = 200;
/** What the kubelet says of an image that it cannot have (k8s.io/kubernetes, pkg/kubelet/images/types.go). */
const IMAGE_REASONS = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ImageInspectError',
  'ErrImageNeverPull',
  'RegistryUnavailable',
  'SignatureValidationFailed',
]);

/**
 * Resolves when a pod's ephemeral container serves. Failures: EPHEMERAL_IMAGE (the node cannot have its image), EPHEMERAL_NOT_STARTED.
 */
export async function untilServing(cluster: Cluster, pod: Pod, entry: string, options: AbortOptions = {}): Promise<void> {
  await untilRunning(cluster, pod, entry, options);
  const signal = deadline(SERVE_MILLISECONDS, options.signal);
  for (;;) {
    if (await isReady(cluster, pod, signal)) return;
    options.signal?.throwIfAborted();
    const { name, namespace } = pod.metadata;
    const now = await cluster.get(pods, name, { ...(namespace !== undefined && { namespace }), ...options });
    assertStarting(now, entry);
    if (signal.aborted) throw notStarted(now, entry, 'it runs, and does not answer');
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
  }
}

async function untilRunning(cluster: Cluster, pod: Pod, entry: string, options: AbortOptions): Promise<void> {
  const { name, namespace } = pod.metadata;
  await using watch = cluster.watch(pods, { ...(namespace !== undefined && { namespace }), fieldSelector: `metadata.name=${name}` });
  const signal = deadline(START_MILLISECONDS, options.signal);
  await watch.synced;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let last = pod;
  const look = (): void => {
    const found = [...watch.items.values()][0];
    try {
      if (found === undefined || !isAlive(found)) throw gone(name);
      last = found;
      if (assertStarting(found, entry)?.running != null) resolve();
    } catch (error) {
      reject(error);
    }
  };
  const aborted = (): void =>
    reject(options.signal?.aborted === true ? options.signal.reason : notStarted(last, entry, 'it does not start'));
  const unsubscribe = watch.onChange(look);
  signal.addEventListener('abort', aborted, { once: true });
  try {
    if (signal.aborted) aborted();
    look();
    await promise;
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', aborted);
  }
}

/** Its state; throws when it has failed. */
function assertStarting(pod: Pod, entry: string): ContainerStatus['state'] {
  const state = ephemeralEntries(pod).find(({ container }) => container.name === entry)?.state;
  if (state?.terminated != null) throw notStarted(pod, entry, `it has ended with exit code ${state.terminated.exitCode ?? 'unknown'}`);
  const { reason, message } = state?.waiting ?? {};
  if (reason !== undefined && IMAGE_REASONS.has(reason)) throw noImage(pod, entry, message ?? reason);
  if (reason?.startsWith('Create') === true || reason?.startsWith('Run') === true) throw notStarted(pod, entry, message ?? reason);
  return state;
}

function noImage(pod: Pod, entry: string, said: string): Failure {
  const image = ephemeralEntries(pod).find(({ container }) => container.name === entry)?.container.image ?? '';
  return new Failure('EPHEMERAL_IMAGE', `the node of pod ${pod.metadata.name} cannot get the image ${image}: ${said}`, {
    likely: "the image's name is wrong, or the pod's imagePullSecrets do not open its registry: an ephemeral container has none of its own",
    remedy: 'give one that the node can get with --image (its entry is a new one; the node goes on trying with this one)',
  });
}

function notStarted(pod: Pod, entry: string, what: string): Failure {
  const { name, namespace = 'default' } = pod.metadata;
  return new Failure('EPHEMERAL_NOT_STARTED', `the ephemeral container ${entry} of pod ${name}: ${what}`, {
    remedy: `see "kubectl -n ${namespace} logs ${name} -c ${entry}" and "kubectl -n ${namespace} describe pod ${name}"`,
  });
}

function gone(name: string): Failure {
  return new Failure('NOT_FOUND', `pod ${name} has gone meanwhile`, { remedy: 'try again' });
}

/** What `/readyz` says, by a port-forward: the right to those is needed anyway. */
async function isReady(cluster: Cluster, pod: Pod, signal: AbortSignal): Promise<boolean> {
  const { name, namespace = cluster.namespace } = pod.metadata;
  const ask = deadline(ASK_MILLISECONDS, signal);
  try {
    const stream = await cluster.portForward({ namespace, pod: name, port: ports.health }, { signal: ask });
    const stop = (): void => void stream.destroy(new Error('no answer in time'));
    ask.addEventListener('abort', stop, { once: true });
    try {
      stream.write('GET /readyz HTTP/1.0\r\n\r\n');
      let text = '';
      for await (const chunk of stream) {
        text += String(chunk);
        if (text.includes('\r\n')) break;
      }
      return /^HTTP\/1\.[01] 200 /.test(text);
    } finally {
      ask.removeEventListener('abort', stop);
      stream.destroy();
    }
  } catch (error) {
    // It is not there yet: nobody listens, or nobody answers. A right that is missing is not going to come.
    if (error instanceof Failure && !['PORT_FORWARD_FAILED', 'API_ERROR', 'API_UNREACHABLE'].includes(error.code)) throw error;
    return false;
  }
}
