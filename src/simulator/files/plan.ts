import { posix } from 'node:path';
import { chooseContainer } from '../environment/container.ts';
import { expand } from '../environment/expansion.ts';
import { staysBelow } from './inner-path.ts';
import { volumeSchema, type FilesContainer, type FilesPod, type Volume } from './objects.ts';

/** A volume at a path of the container. */
export interface PlannedMount {
  readonly path: string;
  readonly volume: string;
  /** Only this part of the volume; '' for the whole. */
  readonly subPath: string;
  readonly readOnly: boolean;
}

export interface FilesPlan {
  readonly container: FilesContainer;
  /** Those that are mounted, each once. */
  readonly volumes: readonly Volume[];
  /** Parents before what is nested in them, as the container runtime does it. */
  readonly mounts: readonly PlannedMount[];
  /** Mounts of kinds that are not imitated: `data (persistentVolumeClaim) at /var/lib/data`. */
  readonly notImitated: readonly string[];
  readonly problems: readonly string[];
}

/** Kinds whose files the container may not change, whatever `readOnly` says (kubelet: ReadOnlyAPIDataVolumes). */
function alwaysReadOnly(volume: Volume): boolean {
  return volume.emptyDir === undefined;
}

/**
 * Which volumes a container of the pod has, and where (kubelet's makeMounts in pkg/kubelet/kubelet_pods.go). `variables` are the
 * container's, for `subPathExpr`. Throws the Failure CONTAINER_UNKNOWN.
 */
export function planFiles(pod: FilesPod, containerName: string | undefined, variables: ReadonlyMap<string, string>): FilesPlan {
  const name = chooseContainer(pod, containerName).name;
  const container = [...pod.spec.containers, ...pod.spec.initContainers].find((one) => one.name === name);
  if (container === undefined) throw new Error(`the pod has lost its container ${name}`);
  const volumes = new Map(pod.spec.volumes.map((volume) => [volume.name, volume]));
  const used = new Map<string, Volume>();
  const mounts: PlannedMount[] = [];
  const notImitated: string[] = [];
  const problems: string[] = [];
  for (const mount of container.volumeMounts) {
    const raw = volumes.get(mount.name);
    if (raw === undefined) continue;
    const kind = kindOf(raw);
    if (!imitated.has(kind)) {
      notImitated.push(`${mount.name} (${kind}) at ${mount.mountPath}`);
      continue;
    }
    const parsed = volumeSchema.safeParse(raw);
    const subPath = subPathOf(mount, variables);
    if (!parsed.success || subPath === undefined || (subPath !== '' && !staysBelow(subPath))) {
      const missing = `its subPath ${mount.subPathExpr} needs a variable that is not set`;
      const what = !parsed.success ? 'it is not as expected' : subPath === undefined ? missing : `its subPath ${subPath} leads out of it`;
      problems.push(`volume ${mount.name} at ${mount.mountPath} is left out: ${what}`);
      continue;
    }
    const volume = kind === 'emptyDir' ? { ...parsed.data, emptyDir: parsed.data.emptyDir ?? {} } : parsed.data;
    used.set(mount.name, volume);
    // The kubelet takes a relative one from the root, and the runtime one with `..` for what it comes to.
    const path = posix.resolve('/', mount.mountPath);
    mounts.push({ path, volume: mount.name, subPath, readOnly: mount.readOnly === true || alwaysReadOnly(volume) });
  }
  return {
    container,
    volumes: [...used.values()],
    mounts: mounts.toSorted((one, other) => depth(one.path) - depth(other.path)),
    notImitated,
    problems,
  };
}

/** Permission bits of a volume's own folder: everybody's, and a tmpfs has the sticky bit as well (kubelet's emptydir.go). */
export function folderMode({ configMap, emptyDir }: Volume): number {
  return configMap !== undefined || (emptyDir !== undefined && emptyDir['medium'] !== 'Memory') ? 0o777 : 0o1777;
}

const imitated: ReadonlySet<string> = new Set(['configMap', 'secret', 'downwardAPI', 'projected', 'emptyDir']);

/** The one field beside `name` that is set. A volume without any is an emptyDir (API reference). */
function kindOf(volume: object): string {
  const set = Object.entries(volume).find(([field, value]) => field !== 'name' && value !== undefined && value !== null);
  return set?.[0] ?? 'emptyDir';
}

/** undefined: a variable of `subPathExpr` is not set, for which the kubelet starts no container. */
function subPathOf(
  { subPath, subPathExpr }: { readonly subPath?: string | undefined; readonly subPathExpr?: string | undefined },
  variables: ReadonlyMap<string, string>,
): string | undefined {
  if (subPathExpr === undefined || subPathExpr === '') return subPath ?? '';
  const missing: string[] = [];
  const expanded = expand(subPathExpr, (name) => {
    const value = variables.get(name);
    if (value === undefined) missing.push(name);
    return value;
  });
  return missing.length > 0 ? undefined : expanded;
}

function depth(path: string): number {
  return path.split('/').filter((part) => part !== '').length;
}
