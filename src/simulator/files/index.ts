export { serviceAccount, volumeContents } from './contents.ts';
export type { ContentsOptions, FileReaders, VolumeContents, VolumeFile, VolumeFiles } from './contents.ts';
export type { FilesPod, TokenSource, TrustBundleSource, Volume } from './objects.ts';
export { folderMode, planFiles } from './plan.ts';
export type { FilesPlan, PlannedMount } from './plan.ts';
