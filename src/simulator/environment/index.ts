export { computeEnvironment } from './compute.ts';
export type { ContainerEnvironment, EnvironmentOptions, EnvironmentReaders } from './compute.ts';
export { chooseContainer } from './container.ts';
export { environmentFormats, formatEnvironment } from './format.ts';
export type { EnvironmentFormat, FormattedEnvironment } from './format.ts';
export { mergeForLaptop, staysLaptops } from './merge.ts';
export { overrideEnvironment } from './overrides.ts';
export type { EnvironmentOverrides } from './overrides.ts';
