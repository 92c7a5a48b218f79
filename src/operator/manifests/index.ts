/** What an installation is made of: one definition, as objects for kpctl and as a chart for Helm. */
export { chartFiles } from './chart.ts';
export { DEVELOPER_ROLE, USER_ROLE } from './definition.ts';
export { developerFeatures, gatewayUserRules, userRules, type Feature } from './developer-rights.ts';
export { COMPONENT_LABEL, MANAGED_BY_LABEL, VERSION_LABEL } from './labels.ts';
export { installationObjects, type Installation } from './objects.ts';
export type { Rule } from '../rights.ts';
export { merge, parseValues, type GivenValues, type InstallValues } from './values.ts';
