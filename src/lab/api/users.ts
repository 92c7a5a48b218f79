import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { ApiError, unauthorized } from './status.ts';

/** What a user may do, as in a Role: all of `verbs` on all of `resources`. `*` stands for all. */
export interface Rule {
  readonly verbs: readonly string[];
  /** Plurals, and subresources as in `pods/portforward`. */
  readonly resources: readonly string[];
  /** Absent: everywhere, and what belongs to no namespace. */
  readonly namespaces?: readonly string[];
}

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly rules: readonly Rule[];
}

/** What a request wants, for the decision and for its message. */
export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string | undefined;
  /** Absent: at the cluster's scope. */
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

/** The lab's users, known by bearer tokens. */
export class Users {
  readonly #byToken = new Map<string, User>();
  readonly #byName = new Map<string, User>();

  /** Adds a user, or replaces one of that name together with its tokens; answers the token. */
  add(user: User): string {
    for (const [token, { name }] of this.#byToken) if (name === user.name) this.#byToken.delete(token);
    const token = randomBytes(24).toString('base64url');
    this.#byToken.set(token, user);
    this.#byName.set(user.name, user);
    return token;
  }

  /** Makes a user's tokens invalid, as when they expire. */
  revoke(name: string): void {
    for (const [token, user] of this.#byToken) if (user.name === name) this.#byToken.delete(token);
  }

  /** Who asks, after impersonation. Throws an {@link ApiError}: 401, 403. */
  authenticate(headers: IncomingHttpHeaders): User {
    const token = /^Bearer\s+(\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
    const user = this.#byToken.get(token);
    if (user === undefined) throw unauthorized();
    const wanted = headers['impersonate-user'];
    if (typeof wanted !== 'string') return user;
    authorize(user, { verb: 'impersonate', group: '', resource: 'users', name: wanted });
    const groups = [headers['impersonate-group'] ?? []].flat().flatMap((value) => value.split(', '));
    return { name: wanted, groups: [...groups, 'system:authenticated'], rules: this.#byName.get(wanted)?.rules ?? [] };
  }
}

/** Throws an {@link ApiError} 403 in RBAC's words unless one of the user's rules allows it. */
export function authorize(user: User, attributes: Attributes): void {
  const { verb, group, resource, subresource, namespace, name } = attributes;
  const path = subresource === undefined ? resource : `${resource}/${subresource}`;
  const has = (list: readonly string[], wanted: string): boolean => list.includes('*') || list.includes(wanted);
  const allowed = user.rules.some(
    ({ verbs, resources, namespaces }) =>
      has(verbs, verb) && has(resources, path) && (namespaces === undefined || (namespace !== undefined && namespaces.includes(namespace))),
  );
  if (allowed) return;
  const what = group === '' ? resource : `${resource}.${group}`;
  const scope = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  const named = name === undefined ? what : `${what} "${name}"`;
  const message = `${named} is forbidden: User "${user.name}" cannot ${verb} resource "${path}" in API group "${group}" ${scope}`;
  throw new ApiError(403, 'Forbidden', message, { ...(name !== undefined && { name }), ...(group !== '' && { group }), kind: resource });
}
