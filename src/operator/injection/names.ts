/** What injection is called in a pod and in its namespace. */
export { SIDECAR_NAME } from '../../cluster/workloads.ts';

/** Label of a pod or a namespace: `enabled` or `disabled`. The pod's wins. */
export const INJECT_LABEL = 'kpeering.io/inject';

/** Label of a pod that was injected at its admission, always `true`: by it the operator's watches find injected pods. */
export const INJECTED_LABEL = 'kpeering.io/injected';

/** Annotation of a pod that was to be injected and was left alone: why, as a Failure is written. */
export const NOT_INJECTED_ANNOTATION = 'kpeering.io/not-injected';

/** Annotation of a pod template: the container whose place one of ours holds, as long as the Lease of {@link REPLACE_LEASE_ANNOTATION} is renewed. */
export const REPLACE_ANNOTATION = 'kpeering.io/replace';

/** Annotation of a pod template, beside {@link REPLACE_ANNOTATION}: the name of the Lease, in the same namespace. */
export const REPLACE_LEASE_ANNOTATION = 'kpeering.io/replace-lease';

/** Annotation of a pod template, beside {@link REPLACE_ANNOTATION}: the label {@link INJECT_LABEL} was put there for it, and goes with it. */
export const REPLACE_LABEL_ANNOTATION = 'kpeering.io/replace-added-label';

/** Annotation of a pod in which a container was replaced at its admission: that container's name. */
export const REPLACED_ANNOTATION = 'kpeering.io/replaced';

/** Annotations of ours that are no options. One that is neither is taken for a mistyped option, and reported. */
export const OTHER_ANNOTATIONS: readonly string[] = [
  NOT_INJECTED_ANNOTATION,
  REPLACE_ANNOTATION,
  REPLACE_LEASE_ANNOTATION,
  REPLACE_LABEL_ANNOTATION,
  REPLACED_ANNOTATION,
];

/** Options are annotations with this before their name. */
export const OPTION_PREFIX = 'kpeering.io/';

/** The container that makes the rules. */
export const INIT_NAME = 'kpeering-init';

/** The volume by which the init container tells the sidecar what it has done. */
export const VOLUME_NAME = 'kpeering';
export const VOLUME_PATH = '/run/kpeering';
export const RULES_FILE = `${VOLUME_PATH}/rules.json`;
