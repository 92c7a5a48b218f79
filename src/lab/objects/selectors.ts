import type { LabObject, LabelSelector } from './schemas.ts';

/** A requirement on an object; from a selector as kubectl writes it. */
export type Matcher = (object: LabObject) => boolean;

/** A selector that cannot be read: the API answers 400. */
export class SelectorError extends Error {
  override readonly name = 'SelectorError';
}

/** `a=b,c!=d,e in (f,g),h notin (i),j,!k` (apimachinery's labels.Parse). Throws a {@link SelectorError}. */
export function parseLabelSelector(text: string): Matcher {
  const requirements = splitOutsideParentheses(text).map(requirement);
  return ({ metadata }) => requirements.every((matches) => matches(metadata.labels));
}

function splitOutsideParentheses(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function requirement(text: string): (labels: Readonly<Record<string, string>>) => boolean {
  const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(text);
  if (set !== null) {
    const [, key = '', operator, list = ''] = set;
    const values = new Set<string | undefined>(list.split(',').map((value) => value.trim()));
    return (labels) => values.has(labels[key]) === (operator === 'in');
  }
  const equality = /^([^\s=!]+)\s*(==?|!=)\s*([^\s=!]*)$/.exec(text);
  if (equality !== null) {
    const [, key = '', operator, value] = equality;
    return (labels) => (labels[key] === value) === (operator !== '!=');
  }
  const existence = /^(!?)\s*([^\s=!()]+)$/.exec(text);
  if (existence === null) throw new SelectorError(`unable to parse requirement: "${text}"`);
  return (labels) => (labels[existence[2] ?? ''] !== undefined) === (existence[1] === '');
}

/** `metadata.name=web,status.phase!=Failed`: each a path of the object (apimachinery's fields.ParseSelector). */
export function parseFieldSelector(text: string): Matcher {
  const requirements = text
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const parsed = /^([\w.]+)(==?|!=)(.*)$/.exec(part);
      if (parsed === null) throw new SelectorError(`invalid selector: '${part}'; can't understand '${part}'`);
      const [, path = '', operator, value] = parsed;
      return (object: LabObject): boolean => (fieldAt(object, path) === value) === (operator !== '!=');
    });
  return (object) => requirements.every((matches) => matches(object));
}

function fieldAt(object: unknown, path: string): string {
  let value = object;
  for (const key of path.split('.')) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

/** Whether labels satisfy a workload's selector (meta/v1 LabelSelector). */
export function selects({ matchLabels, matchExpressions }: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  if (!Object.entries(matchLabels).every(([key, value]) => labels[key] === value)) return false;
  return matchExpressions.every(({ key, operator, values }) => {
    const value = labels[key];
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
    }
  });
}
