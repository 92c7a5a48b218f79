import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { join, sep } from 'node:path';
import type { Container, Pod } from '../objects/schemas.ts';

/** In a mount namespace of the container's own: binds each pair of folders, then becomes the program. */
const script = 'while [ "$1" != -- ]; do mkdir -p "$2" && mount --bind "$1" "$2" || exit 125; shift 2; done; shift; exec "$@"';

export interface VolumeOptions {
  /** Of this pod alone, on the lab's own file system. */
  readonly directory: string;
  /** Folders that have a file system of the pod's own: what does not exist there can be made. */
  readonly cover: readonly string[];
}

/**
 * What is put before a container's program so that it sees its emptyDir volumes; other kinds are left out. Throws an Error for a mount
 * point that would have to be made on the machine's own file system.
 */
export function volumePrefix(pod: Pod, container: Container, { directory, cover }: VolumeOptions): readonly string[] {
  const pairs = container.volumeMounts.flatMap(({ name, mountPath }) => {
    const volume = pod.spec.volumes.find((one) => one.name === name);
    if (volume?.emptyDir === undefined) return [];
    if (!existsSync(mountPath) && !cover.some((folder) => mountPath.startsWith(`${folder}${sep}`)))
      throw new Error(`the lab cannot mount a volume at ${mountPath}: it makes folders below ${cover.join(', ')} only`);
    const source = join(directory, name);
    mkdirSync(source, { recursive: true });
    chmodSync(source, 0o777);
    return [source, mountPath];
  });
  return pairs.length === 0 ? [] : ['unshare', '--mount', 'sh', '-c', script, 'sh', ...pairs, '--'];
}
