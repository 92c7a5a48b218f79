/** Injection asked for from the laptop: the label on a workload's pod template, and its rollout. */
export { parseOptions, type GivenOptions } from './change.ts';
export { DEFAULT_TIMEOUT_MILLISECONDS, type InjectContext } from './context.ts';
export { ejectWorkload, type EjectOptions } from './eject.ts';
export { ejectWorkloads } from './eject-workloads.ts';
export { howToReplace, injectWorkload, type InjectOptions, type InjectResult } from './inject.ts';
export { injectedWorkloads, type InjectedWorkload } from './injected-workloads.ts';
export { injectionTargets, loadTarget, type Target } from './targets.ts';
