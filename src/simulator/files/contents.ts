import { Failure, messageOf } from '../../platform/errors.ts';
import { resourceValue, type Allocatable } from '../environment/downward.ts';
import { downwardFieldText } from './downward-files.ts';
import { staysBelow } from './inner-path.ts';
import type {
  DownwardItem,
  FilesConfigMap,
  FilesContainer,
  FilesPod,
  FilesSecret,
  KeyToPath,
  ProjectedSource,
  TokenSource,
  TrustBundleSource,
  Volume,
} from './objects.ts';

/** How the objects are read, in the pod's own namespace. Each answers undefined for what does not exist, and rejects when it may not be read. */
export interface FileReaders {
  configMap(name: string): Promise<FilesConfigMap | undefined>;
  secret(name: string): Promise<FilesSecret | undefined>;
  /** A token of the pod's service account. */
  token(source: TokenSource): Promise<string | undefined>;
  /** PEM; undefined: there is none, or this API has no such kind. */
  trustBundle(source: TrustBundleSource): Promise<string | undefined>;
  /** `status.allocatable` of a Node. A rejection: not to be had. */
  allocatable(nodeName: string): Promise<Allocatable | undefined>;
}

export interface VolumeFile {
  readonly content: Buffer;
  /** Permission bits. */
  readonly mode: number;
}

/** Files of a volume by their path in it. */
export type VolumeFiles = ReadonlyMap<string, VolumeFile>;

export interface VolumeContents {
  readonly files: VolumeFiles;
  /** What is not there, and why: a sentence each. */
  readonly problems: readonly string[];
}

export interface ContentsOptions {
  readonly pod: FilesPod;
  readonly container: FilesContainer;
  readonly read: FileReaders;
}

/** Where neither the volume nor an item says so (API reference: defaultMode). */
const DEFAULT_MODE = 0o644;

/**
 * The files that the kubelet makes of a volume (pkg/volume/{configmap,secret,downwardapi,projected}); none for an emptyDir. What may not be read or
 * does not exist is a problem, and left out: a ConfigMap or Secret as a whole, one source of a projected volume. Rejects when the API cannot be asked now.
 */
export async function volumeContents(volume: Volume, { pod, container, read }: ContentsOptions): Promise<VolumeContents> {
  const files = new Map<string, VolumeFile>();
  const problems: string[] = [];
  const mode = (volume.configMap ?? volume.secret ?? volume.downwardAPI ?? volume.projected)?.defaultMode ?? DEFAULT_MODE;
  // A token is the user's of the container alone, unless a group is to read it (projected.go).
  const privateMode = pod.spec.securityContext?.fsGroup === undefined && soleUser(pod) === undefined ? mode : 0o600;

  for (const source of sourcesOf(volume)) {
    try {
      const made = await sourceFiles(source);
      const stray = made.find(([path]) => !staysBelow(path) || path.startsWith('..'));
      if (stray !== undefined) throw new Missing(`the path "${stray[0]}" leads out of it`);
      for (const [path, file] of made) files.set(path, file);
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      problems.push(`volume ${volume.name}: ${error.message}`);
    }
  }
  // The group may read, and so may we for whom the files are (volume_linux.go: SetVolumeOwnership of a read-only volume).
  const group = pod.spec.securityContext?.fsGroup === undefined ? 0 : 0o440;
  return { files: new Map([...files].map(([path, file]) => [path, { ...file, mode: file.mode | group }])), problems };

  async function sourceFiles(source: ProjectedSource): Promise<[string, VolumeFile][]> {
    if (source.configMap !== undefined) {
      const { name = '', items, optional } = source.configMap;
      const object = await found('ConfigMap', name, optional, async () => await read.configMap(name));
      const data = new Map(Object.entries(object?.data ?? {}).map(([key, value]) => [key, Buffer.from(value)]));
      for (const [key, value] of Object.entries(object?.binaryData ?? {})) data.set(key, Buffer.from(value, 'base64'));
      return pick(`ConfigMap ${name}`, data, items, optional);
    }
    if (source.secret !== undefined) {
      const { name = '', items, optional } = source.secret;
      const object = await found('Secret', name, optional, async () => await read.secret(name));
      const data = new Map(Object.entries(object?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]));
      return pick(`Secret ${name}`, data, items, optional);
    }
    if (source.downwardAPI !== undefined) return await Promise.all((source.downwardAPI.items ?? []).map(downwardFile));
    if (source.serviceAccountToken !== undefined) {
      const wanted = source.serviceAccountToken;
      const token = await permitted(
        `the token of service account ${serviceAccount(pod)}`,
        async () => await read.token(wanted),
        'is not made',
      );
      if (token === undefined) throw new Missing(`there is no service account ${serviceAccount(pod)} to make a token for`);
      return [[wanted.path, { content: Buffer.from(token), mode: privateMode }]];
    }
    if (source.clusterTrustBundle !== undefined) {
      const wanted = source.clusterTrustBundle;
      const what = `ClusterTrustBundle ${wanted.name ?? `of ${wanted.signerName ?? ''}`}`;
      const bundle = await permitted(what, async () => await read.trustBundle(wanted));
      if (bundle === undefined && wanted.optional !== true) throw new Missing(`${what} does not exist`);
      return [[wanted.path, { content: Buffer.from(bundle ?? ''), mode: privateMode }]];
    }
    const kind = Object.keys(source).find((field) => source[field] !== undefined && source[field] !== null);
    throw new Missing(`its source ${kind ?? 'without a kind'} is not imitated`);
  }

  function pick(
    what: string,
    data: ReadonlyMap<string, Buffer>,
    items: readonly KeyToPath[] | undefined,
    optional: boolean | undefined,
  ): [string, VolumeFile][] {
    if (items === undefined || items.length === 0) return [...data].map(([key, content]) => [key, { content, mode }]);
    return items.flatMap((item): [string, VolumeFile][] => {
      const content = data.get(item.key);
      if (content !== undefined) return [[item.path, { content, mode: item.mode ?? mode }]];
      if (optional === true) return [];
      throw new Missing(`${what} has no key "${item.key}"`);
    });
  }

  async function downwardFile({ path, mode: own, fieldRef, resourceFieldRef }: DownwardItem): Promise<[string, VolumeFile]> {
    const value =
      fieldRef !== undefined
        ? downwardFieldText(pod, fieldRef.fieldPath)
        : await resourceValue(pod, container, resourceFieldRef ?? { resource: '' }, nodeAllocatable);
    if ('problem' in value) throw new Missing(`${path}: ${value.problem}`);
    return [path, { content: Buffer.from(value.value), mode: own ?? mode }];
  }

  async function nodeAllocatable(): Promise<Allocatable | undefined> {
    // Nodes are rarely for everybody to read; what then is missing is a problem of its own.
    return await read.allocatable(pod.spec.nodeName ?? '').catch(() => undefined);
  }

  async function found<T>(
    kind: string,
    name: string,
    optional: boolean | undefined,
    request: () => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const what = `${kind} ${name}`;
    const object = await permitted(what, request);
    if (object === undefined && optional !== true) throw new Missing(`${what} does not exist`);
    return object;
  }
}

/** Something that is left out, and told. */
class Missing extends Error {}

async function permitted<T>(what: string, request: () => Promise<T>, not = 'cannot be read'): Promise<T> {
  try {
    return await request();
  } catch (error) {
    if (!(error instanceof Failure) || (error.code !== 'API_FORBIDDEN' && error.code !== 'API_INVALID')) throw error;
    throw new Missing(`${what} ${not}: ${messageOf(error)}${error.remedy === undefined ? '' : `; ${error.remedy}`}`, { cause: error });
  }
}

function sourcesOf({ configMap, secret, downwardAPI, projected }: Volume): readonly ProjectedSource[] {
  const none = {
    configMap: undefined,
    secret: undefined,
    downwardAPI: undefined,
    serviceAccountToken: undefined,
    clusterTrustBundle: undefined,
  };
  if (configMap !== undefined) return [{ ...none, configMap }];
  if (secret !== undefined) return [{ ...none, secret: { name: secret.secretName, items: secret.items, optional: secret.optional } }];
  if (downwardAPI !== undefined) return [{ ...none, downwardAPI }];
  return projected?.sources ?? [];
}

export function serviceAccount(pod: FilesPod): string {
  return pod.spec.serviceAccountName ?? 'default';
}

/** The user that all containers of the pod run as, if it is one and stated (kubelet: FsUserFrom). */
function soleUser({ spec }: FilesPod): number | undefined {
  const users = [...spec.containers, ...spec.initContainers].map(
    (one) => one.securityContext?.runAsUser ?? spec.securityContext?.runAsUser,
  );
  return users.every((user) => user !== undefined && user === users[0]) ? users[0] : undefined;
}
