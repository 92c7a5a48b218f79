import { z } from 'zod';
import type { AbortOptions } from '../platform/abort.ts';
import { Failure } from '../platform/errors.ts';
import type { ApiClient } from './api-client.ts';
import { listOf } from './resource.ts';
import type { Action, ApiResource } from './types.ts';

const selfSchema = z.object({ status: z.object({ userInfo: z.object({ username: z.string() }) }) });

/** The API server's name of the user (authentication.k8s.io/v1 SelfSubjectReview), or undefined where it cannot be asked. */
export async function whoAmI(client: ApiClient, options: AbortOptions): Promise<string | undefined> {
  try {
    const answer = await client.json({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
      intent: { verb: 'create', resource: 'selfsubjectreviews.authentication.k8s.io' },
      ...options,
    });
    return selfSchema.parse(answer).status.userInfo.username;
  } catch (error) {
    // Before Kubernetes 1.28 there is none; a server in front may not know it either.
    if (error instanceof z.ZodError || (error instanceof Failure && ['NOT_FOUND', 'API_FORBIDDEN', 'API_ERROR'].includes(error.code))) {
      return undefined;
    }
    throw error;
  }
}

const accessSchema = z.object({ status: z.object({ allowed: z.boolean() }) });

/** Whether the user may do that (authorization.k8s.io/v1 SelfSubjectAccessReview). */
export async function can(client: ApiClient, action: Action, options: AbortOptions): Promise<boolean> {
  const answer = await client.json({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: { resourceAttributes: action } },
    intent: { verb: 'create', resource: 'selfsubjectaccessreviews.authorization.k8s.io' },
    ...options,
  });
  return accessSchema.parse(answer).status.allowed;
}

const versionSchema = z.object({ major: z.string(), minor: z.string(), gitVersion: z.string() });

/** The server's version. Some providers write `35+` as the minor one. */
export async function serverVersion(
  client: ApiClient,
  options: AbortOptions,
): Promise<{ readonly major: number; readonly minor: number; readonly text: string }> {
  const answer = await client.json({ method: 'GET', path: '/version', intent: { verb: 'get', resource: '/version' }, ...options });
  const { major, minor, gitVersion } = versionSchema.parse(answer);
  return { major: Number.parseInt(major, 10), minor: Number.parseInt(minor, 10), text: gitVersion };
}

const resourcesSchema = z.object({
  resources: listOf(z.object({ name: z.string(), kind: z.string(), namespaced: z.boolean(), verbs: listOf(z.string()) })),
});

/** The kinds of a group and version (`v1`, `apps/v1`), without their subresources. */
export async function discover(client: ApiClient, groupVersion: string, options: AbortOptions): Promise<readonly ApiResource[]> {
  const path = groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
  const answer = await client.json({ method: 'GET', path, intent: { verb: 'get', resource: path }, ...options });
  return resourcesSchema
    .parse(answer)
    .resources.filter(({ name }) => !name.includes('/'))
    .map(({ name, kind, namespaced, verbs }) => ({ kind, plural: name, namespaced, verbs }));
}
