import { namespaces } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { PodNamespace } from '../../operator/injection/index.ts';

/** What a namespace says to injection; undefined where the user may not read it. */
export async function readNamespace(cluster: Cluster, name: string, options: AbortOptions = {}): Promise<PodNamespace | undefined> {
  try {
    // The namespace of the request is what RBAC looks at: a RoleBinding in it is enough.
    const { metadata } = await cluster.get(namespaces, name, options);
    return { name, labels: metadata.labels, annotations: metadata.annotations };
  } catch (error) {
    if (error instanceof Failure && error.code === 'API_FORBIDDEN') return undefined;
    throw error;
  }
}
