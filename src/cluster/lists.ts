import { z } from 'zod';
import { Failure, messageOf } from '../platform/errors.ts';
import type { ApiClient } from './api-client.ts';
import { resourceName, resourcePath } from './resource.ts';
import type { KubeObject, ListOptions, Resource } from './types.ts';

/** As kubectl: a page is some MiB at most, and the server need not hold the whole list. */
const PAGE = 500;

const pageSchema = z.object({
  metadata: z.object({ resourceVersion: z.string().nullish(), continue: z.string().nullish() }),
  items: z.array(z.unknown()).nullable(),
});

/** A complete list, and the version that a watch goes on from. */
export interface Listed<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

/** The query of a list or a watch. */
export function queryOf(options: ListOptions, more: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams(more);
  if (options.labelSelector !== undefined && options.labelSelector !== '') query.set('labelSelector', options.labelSelector);
  if (options.fieldSelector !== undefined && options.fieldSelector !== '') query.set('fieldSelector', options.fieldSelector);
  return query.toString();
}

/** Lists page by page (kubernetes.io, API concepts: retrieving large results in chunks); from the start if the pages expire meanwhile. */
export async function listAll<T extends KubeObject>(client: ApiClient, resource: Resource<T>, options: ListOptions): Promise<Listed<T>> {
  try {
    return await listPages(client, resource, options, PAGE);
  } catch (error) {
    // 410: the continue token is too old. Without a limit there is none.
    if (error instanceof Failure && error.code === 'API_EXPIRED') return await listPages(client, resource, options, undefined);
    throw error;
  }
}

async function listPages<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  options: ListOptions,
  limit: number | undefined,
): Promise<Listed<T>> {
  const items: T[] = [];
  let next = '';
  for (;;) {
    const query = queryOf(options, { ...(limit !== undefined && { limit: String(limit) }), ...(next !== '' && { continue: next }) });
    const page = pageSchema.parse(
      await client.json({
        method: 'GET',
        path: `${resourcePath(resource, options.namespace)}${query === '' ? '' : `?${query}`}`,
        intent: { verb: 'list', resource: resourceName(resource), namespace: options.namespace },
        ...(options.signal !== undefined && { signal: options.signal }),
      }),
    );
    for (const item of page.items ?? []) items.push(parseObject(resource, item));
    next = page.metadata.continue ?? '';
    if (next === '') return { items, resourceVersion: page.metadata.resourceVersion ?? '' };
  }
}

/** Checks an object that the API server sent. Failure API_ERROR for one that is not as Kubernetes defines it. */
export function parseObject<T extends KubeObject>(resource: Resource<T>, value: unknown): T {
  try {
    return resource.parse(value);
  } catch (error) {
    const reason =
      error instanceof z.ZodError ? error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)[0] : messageOf(error);
    throw new Failure('API_ERROR', `the API server sent a ${resource.kind} that is not understood: ${reason}`, { cause: error });
  }
}
