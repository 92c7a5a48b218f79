import type { AbortOptions } from '../platform/abort.ts';
import type { ApiClient } from './api-client.ts';
import { parseObject } from './lists.ts';
import { resourceName, resourcePath } from './resource.ts';
import type { DeleteOptions, KubeObject, Manifest, Patch, PatchOptions, Resource, WriteOptions } from './types.ts';

/** Whom the API server names as the author of a change, unless the caller says another. */
const FIELD_MANAGER = 'kpctl';

/** Creates an object; `namespace` is undefined for kinds without. */
export async function createObject<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  namespace: string | undefined,
  object: Manifest,
  options: WriteOptions,
): Promise<T> {
  const answer = await client.json({
    method: 'POST',
    path: `${resourcePath(resource, namespace)}${queryOf(options)}`,
    body: object,
    repeatable: false,
    intent: { verb: 'create', resource: resourceName(resource), namespace, name: object.metadata.name },
    ...abortOf(options),
  });
  return parseObject(resource, answer);
}

/** Changes an object, or a subresource of it. */
export async function patchObject<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  namespace: string | undefined,
  name: string,
  change: Patch,
  options: PatchOptions,
): Promise<T> {
  const { subresource } = options;
  const force: Readonly<Record<string, string>> = change.kind === 'apply' && change.force === true ? { force: 'true' } : {};
  const answer = await client.json({
    method: 'PATCH',
    path: `${resourcePath(resource, namespace, name)}${subresource === undefined ? '' : `/${subresource}`}${queryOf(options, force)}`,
    body: change.kind === 'json' ? change.operations : change.object,
    contentType: `application/${{ apply: 'apply-patch+yaml', merge: 'merge-patch+json', strategic: 'strategic-merge-patch+json', json: 'json-patch+json' }[change.kind]}`,
    // The others come to the same when they are done twice.
    repeatable: change.kind !== 'json',
    intent: {
      verb: 'patch',
      resource: subresource === undefined ? resourceName(resource) : withSubresource(resource, subresource),
      namespace,
      name,
    },
    ...abortOf(options),
  });
  return parseObject(resource, answer);
}

/** Begins to delete an object. */
export async function deleteObject(
  client: ApiClient,
  resource: Resource<KubeObject>,
  namespace: string | undefined,
  name: string,
  options: DeleteOptions,
): Promise<void> {
  const { propagation, uid, resourceVersion, dryRun } = options;
  await client.json({
    method: 'DELETE',
    path: resourcePath(resource, namespace, name),
    body: {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      ...(propagation !== undefined && { propagationPolicy: propagation }),
      ...((uid !== undefined || resourceVersion !== undefined) && { preconditions: { uid, resourceVersion } }),
      ...(dryRun === true && { dryRun: ['All'] }),
    },
    intent: { verb: 'delete', resource: resourceName(resource), namespace, name },
    ...abortOf(options),
  });
}

/** `pods/ephemeralcontainers`, `deployments.apps/status`: as RBAC's messages name it. */
function withSubresource(resource: Resource<KubeObject>, subresource: string): string {
  return `${resource.plural}/${subresource}${resource.group === '' ? '' : `.${resource.group}`}`;
}

function queryOf({ fieldManager = FIELD_MANAGER, dryRun }: WriteOptions, more: Readonly<Record<string, string>> = {}): string {
  return `?${new URLSearchParams({ fieldManager, ...(dryRun === true && { dryRun: 'All' }), ...more }).toString()}`;
}

function abortOf({ signal }: AbortOptions): AbortOptions {
  return signal === undefined ? {} : { signal };
}
