import type { Pod } from '../../cluster/resources.ts';

/** The names of kpeering's containers in a pod, never the app's own, whose logs are nobody's business here. */
export function ourContainers({ spec }: Pod): readonly string[] {
  return [...spec.initContainers, ...spec.containers, ...spec.ephemeralContainers]
    .map(({ name }) => name)
    .filter((name) => name === 'kpeering' || name.startsWith('kpeering-'));
}
