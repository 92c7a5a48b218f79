/** What injection is called in a pod and in its namespace. */
export { SIDECAR_NAME } from '../../cluster/workloads.ts';

/** Label of a pod or a namespace: `enabled` or `disabled`. The pod's wins. */
export const INJECT_LABEL = 'kpeering.io/inject';

/** Label of a pod that was injected at its admission, always `true`: by it the operator's watches find injected pods. */
export const INJECTED_LABEL = 'kpeering.io/injected';

/** Annotation of a pod that was to be injected and was left alone: why, as a Failure is written. */
export const NOT_INJECTED_ANNOTATION = 'kpeering.io/not-injected';

/** Annotations of ours that are no options. One that is neither is taken for a mistyped option, and reported. */
export const OTHER_ANNOTATIONS: readonly string[] = [NOT_INJECTED_ANNOTATION];

/** Options are annotations with this before their name. */
export const OPTION_PREFIX = 'kpeering.io/';

/** The container that makes the rules. */
export const INIT_NAME = 'kpeering-init';

/** The volume by which the init container tells the sidecar what it has done. */
export const VOLUME_NAME = 'kpeering';
export const VOLUME_PATH = '/run/kpeering';
export const RULES_FILE = `${VOLUME_PATH}/rules.json`;
