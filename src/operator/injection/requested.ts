import type { LabelSelector } from '../../cluster/resources.ts';
import { Failure } from '../../platform/errors.ts';
import { INJECT_LABEL } from './names.ts';

type Labels = Readonly<Record<string, string>>;

/** Whether a pod's and its namespace's labels ask for injection. The pod's own says, else the namespace's. Throws a Failure `INJECT_LABEL`. */
export function isRequested(pod: Labels, namespace: Labels): boolean {
  const [value, whose] = pod[INJECT_LABEL] === undefined ? [namespace[INJECT_LABEL], 'namespace'] : [pod[INJECT_LABEL], 'pod'];
  if (value === undefined || value === 'disabled') return false;
  if (value === 'enabled') return true;
  throw new Failure('INJECT_LABEL', `the ${whose}'s label ${INJECT_LABEL} is "${value}"`, { remedy: 'it takes enabled or disabled' });
}

/** Of one entry of a MutatingWebhookConfiguration. */
export interface WebhookSelectors {
  /** `pod.inject.kpeering.io`; a webhook's name has at least three parts. */
  readonly name: string;
  readonly namespaceSelector: LabelSelector;
  readonly objectSelector: LabelSelector;
}

/**
 * The two entries by which the API server calls for just the pods that {@link isRequested} is true of, or throws for: those with a label of their own,
 * and those without one in a namespace with it. No pod fits both.
 */
export function webhookSelectors(excludedNamespaces: readonly string[]): readonly WebhookSelectors[] {
  const given: Requirement = { key: INJECT_LABEL, operator: 'Exists', values: [] };
  const notDisabled: Requirement = { key: INJECT_LABEL, operator: 'NotIn', values: ['disabled'] };
  // The API server itself sets this label, on every namespace.
  const elsewhere: Requirement = { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: [...excludedNamespaces] };
  return [
    {
      name: 'pod.inject.kpeering.io',
      namespaceSelector: selector(elsewhere),
      objectSelector: selector(given, notDisabled),
    },
    {
      name: 'namespace.inject.kpeering.io',
      namespaceSelector: selector(given, notDisabled, elsewhere),
      objectSelector: selector({ key: INJECT_LABEL, operator: 'DoesNotExist', values: [] }),
    },
  ];
}

type Requirement = LabelSelector['matchExpressions'][number];

function selector(...matchExpressions: Requirement[]): LabelSelector {
  return { matchLabels: {}, matchExpressions };
}
