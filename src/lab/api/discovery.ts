import type { AnyCollection } from '../objects/store.ts';
import { apiVersionOf } from '../objects/store.ts';

/** The API's description of itself, for kubectl: `/api`, `/apis` and the lists of resources. Undefined for another path. */
export function discovery(path: string, collections: readonly AnyCollection[]): unknown {
  const versions = new Map<string, AnyCollection[]>();
  for (const collection of collections) {
    const version = apiVersionOf(collection.kind);
    versions.set(version, [...(versions.get(version) ?? []), collection]);
  }
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  if (path === '/apis') {
    const groups = [...versions.keys()]
      .filter((version) => version.includes('/'))
      .map((groupVersion) => {
        const [name, version] = groupVersion.split('/');
        return { name, versions: [{ groupVersion, version }], preferredVersion: { groupVersion, version } };
      });
    return { kind: 'APIGroupList', apiVersion: 'v1', groups };
  }
  const asked = /^\/(?:api|apis)\/(.+)$/.exec(path)?.[1];
  const listed = asked === undefined ? undefined : versions.get(asked);
  if (listed === undefined) return undefined;
  const resources = listed.map(({ kind: { plural, singular, shortNames, kind, namespaced } }) => ({
    name: plural,
    singularName: singular,
    namespaced,
    kind,
    shortNames,
    verbs: ['delete', 'get', 'list', 'watch'],
  }));
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: asked, resources };
}
