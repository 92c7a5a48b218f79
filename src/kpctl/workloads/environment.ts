import { configMaps, nodes, secrets, services, type Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { computeEnvironment, type ContainerEnvironment } from '../../simulator/environment/index.ts';

/** The environment of a container of this pod as the kubelet computes it, read from the cluster now. */
export async function containerEnvironment(
  cluster: Cluster,
  pod: Pod,
  containerName: string | undefined,
  options: AbortOptions = {},
): Promise<ContainerEnvironment> {
  const namespace = pod.metadata.namespace ?? cluster.namespace;
  const scope = { namespace, ...options };
  return await computeEnvironment({
    pod,
    ...(containerName !== undefined && { containerName }),
    read: {
      configMap: async (name) => await existing(cluster.get(configMaps, name, scope)),
      secret: async (name) => await existing(cluster.get(secrets, name, scope)),
      services: async (of) => await cluster.list(services, { ...options, namespace: of }),
      allocatable: async (name) => (await existing(cluster.get(nodes, name, options)))?.status?.allocatable,
    },
  });
}

/** Undefined for what does not exist. */
async function existing<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}
