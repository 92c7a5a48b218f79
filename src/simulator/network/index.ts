export { privateNetworkAddresses } from './addresses.ts';
export type { AssociationHandler, CapturedCounters } from './captured-datagrams.ts';
export type { UnavailablePort } from './forwarded-ports.ts';
export { startPrivateNetwork, type PrivateNetwork, type PrivateNetworkOptions, type RunningCommand } from './private-network.ts';
export { exitCodeOf, type CommandExit } from './running-command.ts';
export { parseListeningPorts, type ListeningPorts } from './listening-ports.ts';
