export { integrateNames, type NamesOptions } from './integrate.ts';
export { listenForNames } from './listeners.ts';
export { undoNamesEntry } from './undo-entry.ts';
export type { NameListeners, NamesIntegration } from './types.ts';
