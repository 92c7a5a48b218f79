import type { LabelSelector } from './resource.ts';

type Labels = Readonly<Record<string, string>>;

/** A LabelSelector as the query parameter `labelSelector` has it: `app=web,tier in (a,b),!legacy`. */
export function formatSelector({ matchLabels, matchExpressions }: LabelSelector): string {
  const requirements = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values } of matchExpressions) {
    if (operator === 'In') requirements.push(`${key} in (${values.join(',')})`);
    else if (operator === 'NotIn') requirements.push(`${key} notin (${values.join(',')})`);
    else requirements.push(operator === 'Exists' ? key : `!${key}`);
  }
  return requirements.join(',');
}

/** Whether labels match (kubernetes.io, Labels and Selectors). An empty selector matches everything. */
export function matchesSelector({ matchLabels, matchExpressions }: LabelSelector, labels: Labels): boolean {
  if (!Object.entries(matchLabels).every(([key, value]) => labels[key] === value)) return false;
  return matchExpressions.every(({ key, operator, values }) => {
    const value = labels[key];
    if (operator === 'Exists') return value !== undefined;
    if (operator === 'DoesNotExist') return value === undefined;
    return (operator === 'In') === (value !== undefined && values.includes(value));
  });
}
