import { isSecretName, REDACTED, redactText } from './redact-text.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Containers that are ours: what they are told is no secret, and is what a bug report needs. */
const OURS = /^kpeering(-|$)/u;
const OUR_VARIABLES = /^(KPEERING_|POD_)/u;

/** Annotations whose values stay; of the others the name does. */
const KEPT_ANNOTATIONS =
  /^(kpeering\.io\/|pod-security\.kubernetes\.io\/|deployment\.kubernetes\.io\/revision$|kubectl\.kubernetes\.io\/(restartedAt|default-container)$|meta\.helm\.sh\/)/u;

/** Fields that are left out, and fields of which only the names stay. */
const DROPPED = new Set(['managedFields']);
const NAMES_ONLY = new Set(['data', 'stringData', 'binaryData', 'volumeAttributes', 'options', 'parameters']);

/** Lists of words of a command line. */
const COMMAND_LINES = new Set(['command', 'args']);

/**
 * A Kubernetes object for a bug report: without the values of environment variables, command lines, header values and annotations that are not
 * ours, without data, and with every other text redacted. A Secret is never passed in; where one is, nothing but its name comes out.
 */
export function redactObject(object: unknown): unknown {
  return redactValue(object, false);
}

function redactValue(value: unknown, ours: boolean): unknown {
  if (typeof value === 'string') return redactText(value);
  if (Array.isArray(value)) return value.map((item: unknown) => redactValue(item, ours));
  if (!isFields(value)) return value;
  if (value['kind'] === 'Secret' && 'metadata' in value) return { kind: 'Secret', metadata: { name: nameOf(value['metadata']) } };
  const inside = isContainer(value) ? OURS.test(String(value['name'])) : ours;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, field]) => (DROPPED.has(key) ? [] : [[key, redactField(key, field, inside)]])),
  );
}

function redactField(key: string, value: unknown, ours: boolean): unknown {
  if (key === 'annotations' && isFields(value))
    return mapFields(value, (name, text) => (KEPT_ANNOTATIONS.test(name) ? redactValue(text, ours) : REDACTED));
  if (NAMES_ONLY.has(key) && isFields(value)) return mapFields(value, () => REDACTED);
  if (key === 'env' && Array.isArray(value)) return value.map((variable: unknown) => redactVariable(variable, ours));
  if (key === 'httpHeaders' && Array.isArray(value))
    return value.map((header: unknown) => (isFields(header) ? { ...header, value: REDACTED } : REDACTED));
  if (COMMAND_LINES.has(key) && Array.isArray(value) && !ours) return value.map(() => REDACTED);
  if (typeof value === 'string' && isSecretName(key)) return REDACTED;
  return redactValue(value, ours);
}

function redactVariable(variable: unknown, ours: boolean): unknown {
  if (!isFields(variable)) return REDACTED;
  const keeps = ours && OUR_VARIABLES.test(String(variable['name']));
  return mapFields(variable, (key, value) => (key === 'value' && !keeps ? REDACTED : redactValue(value, ours)));
}

/** An entry of `containers`, `initContainers` or `ephemeralContainers`; a volume has no image. */
function isContainer(value: Fields): boolean {
  return typeof value['name'] === 'string' && typeof value['image'] === 'string';
}

function nameOf(metadata: unknown): unknown {
  return isFields(metadata) ? metadata['name'] : undefined;
}

function mapFields(fields: Fields, map: (key: string, value: unknown) => unknown): Fields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, map(key, value)]));
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
