import type { Container, ContainerStatus, Pod } from './pods.ts';

/** What kpeering's ephemeral containers are called, with a number behind it: an entry of a pod can be neither started again nor removed. */
export const EPHEMERAL_PREFIX = 'kpeering-ephemeral-';

/** One of kpeering's ephemeral containers in a pod, and what the kubelet says of it. */
export interface EphemeralEntry {
  readonly container: Container;
  /** Undefined: the kubelet has not looked at it yet. */
  readonly state: ContainerStatus['state'];
}

/** Those of a pod, in no particular order; none that has ended will run again. */
export function ephemeralEntries(pod: Pod): readonly EphemeralEntry[] {
  return pod.spec.ephemeralContainers
    .filter(({ name }) => name.startsWith(EPHEMERAL_PREFIX))
    .map((container) => ({
      container,
      state: pod.status.ephemeralContainerStatuses.find(({ name }) => name === container.name)?.state,
    }));
}

/** The one that runs. */
export function ephemeralOf(pod: Pod): Container | undefined {
  return ephemeralEntries(pod).find(({ state }) => state?.running != null)?.container;
}
