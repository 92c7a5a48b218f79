import { z } from 'zod';
import type { AbortOptions } from '../platform/abort.ts';
import { Failure } from '../platform/errors.ts';
import { formatSelector } from './label-selector.ts';
import { defineResource, labelSelectorSchema, metadataSchema } from './resource.ts';
import type { Cluster, Resource } from './types.ts';

const schema = z.object({ metadata: metadataSchema, spec: z.object({ trustBundle: z.string() }) });
type TrustBundle = z.infer<typeof schema>;

/** Newest first; a cluster has none of them unless it is switched on. */
const versions = ['v1', 'v1beta1', 'v1alpha1'];

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** By name, or all of a signer whose labels fit. */
export interface TrustBundleQuery {
  readonly name?: string | undefined;
  readonly signerName?: string | undefined;
  /** `meta/v1 LabelSelector`; absent: none fits. */
  readonly labelSelector?: unknown;
}

/**
 * Certificates of ClusterTrustBundles (certificates.k8s.io), each once, as PEM (`get` and `list` on clustertrustbundles). Undefined: there are none, or
 * the API has no such kind.
 */
export async function trustBundle(cluster: Cluster, query: TrustBundleQuery, options: AbortOptions = {}): Promise<string | undefined> {
  const resource = await servedResource(cluster, options);
  if (resource === undefined) return undefined;
  const bundles = await find(cluster, resource, query, options);
  const blocks = new Set(bundles.flatMap(({ spec }) => spec.trustBundle.match(PEM_BLOCK) ?? []));
  return bundles.length === 0 ? undefined : [...blocks].map((block) => `${block}\n`).join('');
}

async function find(
  cluster: Cluster,
  resource: Resource<TrustBundle>,
  { name, signerName, labelSelector }: TrustBundleQuery,
  options: AbortOptions,
): Promise<readonly TrustBundle[]> {
  if (name === undefined) {
    if (signerName === undefined || labelSelector === undefined) return [];
    const selector = formatSelector(labelSelectorSchema.parse(labelSelector));
    return await cluster.list(resource, {
      fieldSelector: `spec.signerName=${signerName}`,
      ...(selector !== '' && { labelSelector: selector }),
      ...options,
    });
  }
  try {
    return [await cluster.get(resource, name, options)];
  } catch (error) {
    if (error instanceof Failure && error.code === 'NOT_FOUND') return [];
    throw error;
  }
}

async function servedResource(cluster: Cluster, options: AbortOptions): Promise<Resource<TrustBundle> | undefined> {
  for (const version of versions) {
    try {
      const kinds = await cluster.discover(`certificates.k8s.io/${version}`, options);
      if (kinds.some(({ plural }) => plural === 'clustertrustbundles')) {
        return defineResource<TrustBundle>(
          { kind: 'ClusterTrustBundle', plural: 'clustertrustbundles', group: 'certificates.k8s.io', version, namespaced: false },
          schema,
        );
      }
    } catch (error) {
      if (!(error instanceof Failure && error.code === 'NOT_FOUND')) throw error;
    }
  }
  return undefined;
}
