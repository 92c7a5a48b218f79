export { joinMachine, report } from './join.ts';
export { isOwnRoute } from './own-route.ts';
export { leftovers, owner } from './owner.ts';
export { journalDirectory } from './paths.ts';
export { repair } from './repair.ts';
export { startHelper } from './start-helper.ts';
export type {
  AppliedNames,
  Caller,
  CapturedNetworks,
  HelperEnd,
  HelperOptions,
  HelperProcess,
  Journal,
  Leftovers,
  MachineNetwork,
  MachineNetworkOptions,
  NamesPlan,
  UpOwner,
} from './types.ts';
