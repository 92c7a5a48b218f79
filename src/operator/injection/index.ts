/** Injection: which pods get kpeering's containers, and what is changed in them. Pure: whoever answers admission reviews, or asks beforehand, calls it. */
export { decideInjection, type Injection, type InjectionRequest } from './inject.ts';
export { applyPatch, type JsonPatch, type PatchOperation } from './json-patch.ts';
export {
  INIT_NAME,
  INJECTED_LABEL,
  INJECT_LABEL,
  NOT_INJECTED_ANNOTATION,
  OPTION_PREFIX,
  REPLACE_ANNOTATION,
  REPLACE_LABEL_ANNOTATION,
  REPLACE_LEASE_ANNOTATION,
  REPLACED_ANNOTATION,
  SIDECAR_NAME,
} from './names.ts';
export { optionNames, readOptions, type OptionName } from './options.ts';
export { webhookSelectors, type WebhookSelectors } from './requested.ts';
export type { InjectionSettings, PodNamespace } from './settings.ts';
