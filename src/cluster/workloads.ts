/** What WORKLOAD means: reading it, finding it, its pods, its ports, and the list of all of them. */
export { EPHEMERAL_PREFIX, ephemeralEntries, ephemeralOf, type EphemeralEntry } from './ephemeral.ts';
export { findWorkload, workloadLabel, type FindOptions, type Workload } from './workload-lookup.ts';
export { listWorkloads, type ListWorkloadsOptions, type WorkloadSummary } from './workload-list.ts';
export {
  SIDECAR_NAME,
  declaredSidecarOf,
  dialsForLaptops,
  isAlive,
  isFinished,
  isReady,
  podSelection,
  podsOf,
  sidecarOf,
} from './workload-pods.ts';
export { declaredPorts, portLabel, protocolOf, resolvePort, type PodPortNumber, type PortProtocol } from './workload-ports.ts';
export { parseWorkload, workloadTypes, type WorkloadReference, type WorkloadType } from './workload-reference.ts';
