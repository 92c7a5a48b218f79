import { ExitCode, Failure } from '../../platform/errors.ts';
import type { EnvironmentContainer, EnvironmentPod } from './objects.ts';

/** Names of our own containers in a pod: the sidecar and the init container. */
const ours = new Set(['kpeering', 'kpeering-init']);

/**
 * The container that a command is about: the requested one (init containers too), else the one that the annotation
 * `kubectl.kubernetes.io/default-container` names if it is there, else the first that is not ours. Throws the Failure
 * CONTAINER_UNKNOWN, which lists the names.
 */
export function chooseContainer(pod: EnvironmentPod, requested?: string): EnvironmentContainer {
  const { containers } = pod.spec;
  const all = [...containers, ...(pod.spec.initContainers ?? [])];
  if (requested !== undefined) {
    const found = all.find(({ name }) => name === requested);
    if (found !== undefined) return found;
    throw unknown(pod, `pod ${pod.metadata.name} has no container "${requested}"`, all);
  }
  const annotated = pod.metadata.annotations?.['kubectl.kubernetes.io/default-container'];
  const chosen = containers.find(({ name }) => name === annotated) ?? containers.find(({ name }) => !ours.has(name));
  if (chosen === undefined) throw unknown(pod, `pod ${pod.metadata.name} has no container but ours`, all);
  return chosen;
}

function unknown(pod: EnvironmentPod, what: string, all: readonly EnvironmentContainer[]): Failure {
  return new Failure('CONTAINER_UNKNOWN', what, {
    likely: `its containers are ${all.map(({ name }) => name).join(', ')}`,
    remedy: 'name one of them with --container',
    exitCode: ExitCode.usage,
  });
}
