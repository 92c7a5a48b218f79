import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { PrivateNetwork, VolumesToMount } from '../../simulator/network/index.ts';
import type { Terminal } from '../terminal.ts';
import { pathsToKeep, type ContainerFiles } from './container-files.ts';
import { followFiles } from './follow-files.ts';

export interface MountFilesOptions {
  readonly files: ContainerFiles;
  readonly toMount: Omit<VolumesToMount, 'keepVisible'>;
  readonly network: PrivateNetwork;
  readonly argv: readonly string[];
  readonly terminal: Terminal;
  readonly log: Logger;
}

/** Puts a container's volumes at their paths for COMMAND, before it starts, and keeps them as they are in the cluster until it is closed. */
export async function mountFiles({ files, toMount, network, argv, terminal, log }: MountFilesOptions): Promise<Closeable> {
  const keepVisible = pathsToKeep(argv, { directory: process.cwd(), home: process.env['HOME'] });
  for (const problem of await network.mountVolumes({ ...toMount, keepVisible })) terminal.warn(problem);
  return followFiles({
    files,
    update: ({ name, files: written }) => network.updateVolume(name, written),
    warn: (line) => terminal.warn(line),
    log,
  });
}
