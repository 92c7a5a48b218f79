import { deployments } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { parseValues } from '../../operator/manifests/values.ts';
import { OPERATOR_NAME } from '../../operator/names.ts';
import { parseSettings } from '../../operator/settings.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { EphemeralImage } from './container.ts';

/** Where `kpctl install` puts the operator unless it is told another namespace. */
const OPERATOR_NAMESPACE = 'kpeering-system';

/**
 * The image of an ephemeral container: the one that was asked for; else the operator's for its sidecars, where the user may read it; else
 * the one of kpctl's own version.
 */
export async function ephemeralImage(cluster: Cluster, asked: string | undefined, options: AbortOptions = {}): Promise<EphemeralImage> {
  const pullPolicy = 'IfNotPresent';
  if (asked !== undefined) return { image: asked, pullPolicy };
  return (await operatorsImage(cluster, options)) ?? { image: parseValues().images.kpeering, pullPolicy };
}

async function operatorsImage(cluster: Cluster, options: AbortOptions): Promise<EphemeralImage | undefined> {
  try {
    const { spec } = await cluster.get(deployments, OPERATOR_NAME, { namespace: OPERATOR_NAMESPACE, ...options });
    const variables = spec.template.spec.containers.flatMap(({ env }) => env);
    const settings = parseSettings(variables.find(({ name }) => name === 'KPEERING_SETTINGS')?.value);
    return { image: settings.images.sidecar, pullPolicy: settings.pullPolicy };
  } catch (error) {
    // There is none, it may not be read, or it is of another version with other settings.
    if (error instanceof Failure && ['API_FORBIDDEN', 'NOT_FOUND', 'OPERATOR_SETTINGS'].includes(error.code)) return undefined;
    throw error;
  }
}
