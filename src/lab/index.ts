export { atParentsEnd, enterLab, outsideListener } from './isolation.ts';
export type { EnterLabOptions, LabProcess } from './isolation.ts';
export { startLab } from './lab.ts';
export type { Lab, LabHost, LabOptions } from './lab.ts';
export type { LabImage, LabImages } from './kubelet/images.ts';
export type { Rule, User } from './api/users.ts';
export type { AdmittingNamespace, PodAdmission } from './objects/store.ts';
export { labAddresses } from './network/addresses.ts';
export type { ProgramOptions, ProgramOutcome } from './run.ts';
