import { resolve } from 'node:path';
import { configMaps, nodes, pods, secrets, type Pod } from '../../cluster/resources.ts';
import { trustBundle } from '../../cluster/trust-bundles.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import {
  folderMode,
  planFiles,
  serviceAccount,
  volumeContents,
  type FileReaders,
  type FilesPlan,
  type VolumeContents,
  type VolumeFiles,
} from '../../simulator/files/index.ts';
import type { VolumesToMount, WrittenFile } from '../../simulator/network/index.ts';
import { Tokens } from './tokens.ts';

export interface ContainerFilesOptions {
  readonly cluster: Cluster;
  readonly pod: Pod;
  readonly container: string | undefined;
  /** The container's, for `subPathExpr`. */
  readonly variables: ReadonlyMap<string, string>;
}

/** A volume whose files have changed since it was last asked for. */
export interface ChangedVolume {
  readonly name: string;
  readonly files: readonly WrittenFile[];
}

/** The files that a container of a pod has from its volumes, and has had when last read. */
export class ContainerFiles {
  readonly #cluster: Cluster;
  readonly #tokens: Tokens;
  readonly #plan: FilesPlan;
  /** Each problem is told once. */
  readonly #told = new Set<string>();
  readonly #written = new Map<string, { readonly text: string; readonly incomplete: boolean }>();
  #pod: Pod;

  private constructor({ cluster, pod, container, variables }: ContainerFilesOptions) {
    this.#cluster = cluster;
    this.#pod = pod;
    this.#plan = planFiles(pod, container, variables);
    this.#tokens = new Tokens(cluster, { namespace: this.#namespace, serviceAccount: serviceAccount(pod) });
  }

  /** Reads what the volumes hold now. What cannot be had is left out, and told by `warn`, a sentence each. Failures: CONTAINER_UNKNOWN. */
  static async read(
    options: ContainerFilesOptions,
    warn: (line: string) => void,
    abort: AbortOptions = {},
  ): Promise<{ readonly files: ContainerFiles; readonly toMount: Omit<VolumesToMount, 'keepVisible'> }> {
    const files = new ContainerFiles(options);
    return { files, toMount: await files.#readAll(warn, abort) };
  }

  /** Whether the service account's token is among them: programs then take the machine for the pod. */
  get hasToken(): boolean {
    return this.#plan.volumes.some(({ projected }) => projected?.sources?.some((source) => source.serviceAccountToken !== undefined));
  }

  /** Reads all again and answers the volumes that have changed. `warn` is told what is missing now; an API that does not answer changes nothing. */
  async changes(warn: (line: string) => void, abort: AbortOptions = {}): Promise<readonly ChangedVolume[]> {
    this.#pod = (await existing(this.#cluster.get(pods, this.#pod.metadata.name, { namespace: this.#namespace, ...abort }))) ?? this.#pod;
    const read = this.#readers(abort);
    const changed: ChangedVolume[] = [];
    for (const volume of this.#plan.volumes) {
      if (volume.emptyDir !== undefined) continue;
      const contents = await volumeContents(volume, { pod: this.#pod, container: this.#plan.container, read });
      this.#tell(contents.problems, warn);
      const before = this.#written.get(volume.name);
      // What was there stays when its source has gone, as the kubelet leaves it.
      if (contents.problems.length > 0 && before?.incomplete === false) continue;
      const files = toWrite(contents.files);
      if (JSON.stringify(files) === before?.text) continue;
      this.#remember(volume.name, files, contents);
      changed.push({ name: volume.name, files });
    }
    return changed;
  }

  async #readAll(warn: (line: string) => void, abort: AbortOptions): Promise<Omit<VolumesToMount, 'keepVisible'>> {
    const { mounts, notImitated, problems } = this.#plan;
    const read = this.#readers(abort);
    if (notImitated.length > 0) {
      warn(`not imitated, so the command sees this machine's own files there: volume ${notImitated.join(', volume ')}`);
    }
    this.#tell(problems, warn);
    const incomplete = new Set<string>();
    const volumes = await Promise.all(
      this.#plan.volumes.map(async (volume) => {
        const mode = folderMode(volume);
        if (volume.emptyDir !== undefined) return { name: volume.name, mode };
        const contents = await volumeContents(volume, { pod: this.#pod, container: this.#plan.container, read }).catch(
          (error: unknown) => ({
            files: new Map(),
            problems: [`volume ${volume.name}: ${messageOf(error)}`],
          }),
        );
        this.#tell(contents.problems, warn);
        if (contents.problems.length > 0) incomplete.add(volume.name);
        const files = toWrite(contents.files);
        this.#remember(volume.name, files, contents);
        return { name: volume.name, mode, files };
      }),
    );
    abort.signal?.throwIfAborted();
    // Whether a part of a volume is a file or a folder is not known without the volume.
    return { volumes, mounts: mounts.filter(({ volume, subPath }) => subPath === '' || !incomplete.has(volume)) };
  }

  #tell(problems: readonly string[], warn: (line: string) => void): void {
    for (const problem of problems) if (!this.#told.has(problem)) warn(problem);
    for (const problem of problems) this.#told.add(problem);
  }

  #remember(name: string, files: readonly WrittenFile[], { problems }: VolumeContents): void {
    this.#written.set(name, { text: JSON.stringify(files), incomplete: problems.length > 0 });
  }

  get #namespace(): string {
    return this.#pod.metadata.namespace ?? this.#cluster.namespace;
  }

  /** Each object is read once. */
  #readers(abort: AbortOptions): FileReaders {
    const scope = { namespace: this.#namespace, ...abort };
    const cluster = this.#cluster;
    return {
      configMap: once(async (name: string) => await existing(cluster.get(configMaps, name, scope))),
      secret: once(async (name: string) => await existing(cluster.get(secrets, name, scope))),
      token: async (source) => await this.#tokens.get(source, abort),
      trustBundle: async (source) => await trustBundle(cluster, source, abort),
      allocatable: once(async (name: string) => (await existing(cluster.get(nodes, name, abort)))?.status.allocatable),
    };
  }
}

/** In the order of their paths, so that the same files are the same text. */
function toWrite(files: VolumeFiles): readonly WrittenFile[] {
  return [...files]
    .map(([path, { content, mode }]) => ({ path, mode, content: content.toString('base64') }))
    .toSorted((one, other) => (one.path < other.path ? -1 : 1));
}

function once<T>(read: (name: string) => Promise<T>): (name: string) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return async (name) => {
    const pending = known.get(name) ?? read(name);
    known.set(name, pending);
    return await pending;
  };
}

/** Undefined for what does not exist. */
async function existing<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof Failure && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** Folders without which nothing runs. */
const system = ['/bin', '/sbin', '/lib', '/usr/bin', '/usr/lib', '/etc/resolv.conf', '/proc', '/sys', '/dev'];

/** What no volume may hide from COMMAND: itself, where it works, its user's home, kpctl, and the system. */
export function pathsToKeep(
  argv: readonly string[],
  { directory, home }: { readonly directory: string; readonly home: string | undefined },
): readonly string[] {
  const own = [process.execPath, resolve(import.meta.dirname, '../../..')];
  const commands = argv[0]?.includes('/') === true ? [resolve(directory, argv[0])] : [];
  return [directory, ...(home === undefined || home === '' ? [] : [home]), ...commands, ...own, ...system];
}
