import { Conditional, Expression, isList, Repeated, type Tree, type TreeMap } from './expressions.ts';
import type { InstallValues } from './values.ts';

/** What the objects of one installation depend on. */
export interface Release {
  readonly namespace: string;
  /** What installs: `kpctl`. */
  readonly manager: string;
  readonly values: InstallValues;
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** An entry of a map or list that is not there. */
const nothing = Symbol('nothing');

/** The data that a definition makes with these values; as Helm does it with the chart's template. */
export function evaluate(tree: Tree, release: Release): Json | undefined {
  const found = valueOf(tree, { release });
  return found === nothing ? undefined : found;
}

interface Scope {
  readonly release: Release;
  readonly element?: Json;
}

function valueOf(tree: Tree, scope: Scope): Json | typeof nothing {
  if (tree instanceof Expression) return resolve(tree, scope);
  if (tree instanceof Conditional) return isTrue(resolve(tree.condition, scope)) ? valueOf(tree.content, scope) : nothing;
  if (tree instanceof Repeated) return listOf(resolve(tree.list, scope)).map((element) => present(tree.entry, { ...scope, element }));
  if (isList(tree)) return tree.map((entry) => valueOf(entry, scope)).filter((entry) => entry !== nothing);
  if (typeof tree === 'object') return mapOf(tree, scope);
  return tree;
}

function mapOf(tree: TreeMap, scope: Scope): Json {
  const entries = Object.entries(tree).flatMap(([key, entry]): [string, Json][] => {
    const found = valueOf(entry, scope);
    return found === nothing ? [] : [[key, found]];
  });
  return Object.fromEntries(entries);
}

function resolve({ form }: Expression, scope: Scope): Json {
  const { release } = scope;
  switch (form.kind) {
    case 'value':
      return lookUp(release.values, form.path);
    case 'release':
      return form.field === 'namespace' ? release.namespace : release.manager;
    case 'element':
      return scope.element ?? null;
    case 'text':
      return form.parts.map((part) => (typeof part === 'string' ? part : textOf(resolve(part, scope)))).join('');
    case 'json':
      return jsonText(present(form.of, scope));
    case 'choice':
      return present(isTrue(resolve(form.condition, scope)) ? form.yes : form.no, scope);
    case 'union':
      return unique(form.lists.flatMap((list) => listOf(present(list, scope))));
  }
}

function present(tree: Tree, scope: Scope): Json {
  const found = valueOf(tree, scope);
  if (found === nothing) throw new Error('a condition stands where there must be a value');
  return found;
}

function lookUp(values: Json | InstallValues, path: string): Json {
  let found: unknown = values;
  for (const key of path.split('.')) found = isRecord(found) ? found[key] : undefined;
  return asJson(found);
}

/** Values are JSON by their schema; what is not there is left out, as in JSON. */
function asJson(found: unknown): Json {
  if (found === null || typeof found === 'string' || typeof found === 'number' || typeof found === 'boolean') return found;
  if (Array.isArray(found)) return found.map((entry: unknown) => asJson(entry));
  if (!isRecord(found)) return null;
  return Object.fromEntries(Object.entries(found).flatMap(([key, entry]) => (entry === undefined ? [] : [[key, asJson(entry)]])));
}

function isRecord(found: unknown): found is Readonly<Record<string, unknown>> {
  return typeof found === 'object' && found !== null && !Array.isArray(found);
}

function isJsonList(found: Json): found is readonly Json[] {
  return Array.isArray(found);
}

function listOf(found: Json): readonly Json[] {
  if (!isJsonList(found)) throw new Error('there must be a list');
  return found;
}

/** As text/template's `if`. */
function isTrue(found: Json): boolean {
  if (isJsonList(found)) return found.length > 0;
  if (typeof found === 'object' && found !== null) return Object.keys(found).length > 0;
  return Boolean(found);
}

function textOf(found: Json): string {
  if (typeof found !== 'string') throw new Error('there must be a text');
  return found;
}

function unique(list: readonly Json[]): readonly Json[] {
  const seen = new Map(list.map((entry) => [jsonText(entry), entry]));
  return [...seen.values()];
}

/** As Go's encoding/json writes it, which Helm's toJson is: keys sorted, and `<`, `>`, `&` escaped. */
export function jsonText(found: Json): string {
  const sorted = JSON.stringify(found, (_key, entry: unknown) =>
    isRecord(entry) ? Object.fromEntries(Object.entries(entry).toSorted(([one], [other]) => (one < other ? -1 : 1))) : entry,
  );
  return sorted.replaceAll(/[<>&\u2028\u2029]/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
