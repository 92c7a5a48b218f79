import { fieldValue, type DownwardValue } from '../environment/downward.ts';
import type { EnvironmentPod } from '../environment/objects.ts';

/** The text of a `fieldRef` in a file: beside the fields that variables may have, all labels or all annotations (pkg/fieldpath). */
export function downwardFieldText(pod: EnvironmentPod, path: string): DownwardValue {
  if (path === 'metadata.labels') return { value: formatMap(pod.metadata.labels ?? {}) };
  if (path === 'metadata.annotations') return { value: formatMap(pod.metadata.annotations ?? {}) };
  return fieldValue(pod, path);
}

/** `key="value"` lines in the order of their keys' bytes, the last without a line break. */
function formatMap(map: Readonly<Record<string, string>>): string {
  const entries = Object.entries(map).toSorted(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  return entries.map(([key, value]) => `${key}=${goQuote(value)}`).join('\n');
}

const short: Readonly<Record<string, string>> = {
  '\u0007': String.raw`\a`,
  '\b': String.raw`\b`,
  '\f': String.raw`\f`,
  '\n': String.raw`\n`,
  '\r': String.raw`\r`,
  '\t': String.raw`\t`,
  '\v': String.raw`\v`,
  '\\': '\\\\',
  '"': String.raw`\"`,
};

/** Go's `%q` (strconv.Quote). */
export function goQuote(text: string): string {
  return `"${Array.from(text, (character) => short[character] ?? escaped(character)).join('')}"`;
}

/** What Go calls printable stays: letters, marks, numbers, punctuation, symbols and the ASCII space. */
function escaped(character: string): string {
  if (/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(character)) return character;
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x80) return String.raw`\x` + code.toString(16).padStart(2, '0');
  return code < 0x1_00_00 ? String.raw`\u` + code.toString(16).padStart(4, '0') : String.raw`\U` + code.toString(16).padStart(8, '0');
}
