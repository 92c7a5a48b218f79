/** JSON Patch (RFC 6902), the three operations that injection uses, as an AdmissionReview's answer carries them. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

export type JsonPatch = readonly PatchOperation[];

type JsonRecord = Record<string, unknown>;

/** A JSON Pointer (RFC 6901): `/metadata/labels/kpeering.io~1inject`. */
export function pointer(...tokens: readonly (string | number)[]): string {
  return tokens.map((token) => `/${String(token).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** The document with the patch applied; the given one stays as it is. Throws an Error where an operation does not fit the document. */
export function applyPatch(document: unknown, patch: JsonPatch): unknown {
  const root = { document: copyOf(document) };
  for (const operation of patch) applyOperation(root, operation);
  return root.document;
}

function applyOperation(root: JsonRecord, operation: PatchOperation): void {
  const tokens = ['document', ...tokensOf(operation.path)];
  const last = tokens.pop() ?? '';
  let parent: unknown = root;
  for (const token of tokens) parent = memberOf(parent, token, operation);
  const value = operation.op === 'remove' ? undefined : copyOf(operation.value);
  if (Array.isArray(parent)) changeArray(parent, last, operation, value);
  else if (isRecord(parent)) changeRecord(parent, last, operation, value);
  else throw unfit(operation);
}

/** As JSON: with structuredClone, what is in two places of a document (an anchor of YAML) would be changed in both. */
function copyOf(json: unknown): unknown {
  return JSON.parse(JSON.stringify(json));
}

function tokensOf(path: string): readonly string[] {
  if (path === '') return [];
  if (!path.startsWith('/')) throw new Error(`"${path}" is no JSON pointer`);
  return path
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function memberOf(parent: unknown, token: string, operation: PatchOperation): unknown {
  if (Array.isArray(parent)) {
    const list: readonly unknown[] = parent;
    return list[indexOf(token, list.length - 1, operation)];
  }
  if (isRecord(parent) && Object.hasOwn(parent, token)) return parent[token];
  throw unfit(operation);
}

function changeArray(list: unknown[], token: string, operation: PatchOperation, value: unknown): void {
  if (operation.op === 'add') list.splice(token === '-' ? list.length : indexOf(token, list.length, operation), 0, value);
  else if (operation.op === 'replace') list[indexOf(token, list.length - 1, operation)] = value;
  else list.splice(indexOf(token, list.length - 1, operation), 1);
}

function changeRecord(record: JsonRecord, token: string, operation: PatchOperation, value: unknown): void {
  if (operation.op !== 'add' && !Object.hasOwn(record, token)) throw unfit(operation);
  if (operation.op === 'remove') delete record[token];
  // A plain assignment to "__proto__" would not make a member of that name.
  else Object.defineProperty(record, token, { value, writable: true, enumerable: true, configurable: true });
}

function indexOf(token: string, largest: number, operation: PatchOperation): number {
  const index = /^(?:0|[1-9]\d*)$/u.test(token) ? Number(token) : -1;
  if (index < 0 || index > largest) throw unfit(operation);
  return index;
}

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unfit({ op, path }: PatchOperation): Error {
  return new Error(`cannot ${op} ${path}: the document has no such place`);
}
