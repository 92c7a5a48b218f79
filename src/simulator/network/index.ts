export { privateNetworkAddresses } from './addresses.ts';
export type { AssociationHandler, CapturedCounters } from '../datagrams/captured.ts';
export type { UnavailablePort } from './forwarded-ports.ts';
export {
  startPrivateNetwork,
  type CommandOptions,
  type PrivateNetwork,
  type PrivateNetworkOptions,
  type RunningCommand,
} from './private-network.ts';
export { exitCodeOf, type CommandExit } from './running-command.ts';
export { parseListeningPorts, type ListeningPorts } from './listening-ports.ts';
export type { VolumesToMount } from './inside-process.ts';
export type { MountedVolume, VolumeMountRequest, WrittenFile } from './messages.ts';
