import { Failure, messageOf } from '../../platform/errors.ts';
import { chooseContainer } from './container.ts';
import { fieldValue, resourceValue } from './downward.ts';
import type { Allocatable, DownwardValue } from './downward.ts';
import { expand } from './expansion.ts';
import type { EnvironmentConfigMap, EnvironmentPod, EnvironmentSecret, EnvironmentService, VariableSource } from './objects.ts';
import { serviceVariables } from './service-variables.ts';

/** How the objects are read, in the pod's own namespace unless said otherwise. Each answers undefined for what does not exist, and rejects when it may not be read. */
export interface EnvironmentReaders {
  configMap(name: string): Promise<EnvironmentConfigMap | undefined>;
  secret(name: string): Promise<EnvironmentSecret | undefined>;
  services(namespace: string): Promise<readonly EnvironmentService[]>;
  /** `status.allocatable` of a Node, for a resourceFieldRef to a limit that is not set. Absent, or a rejection: not to be had. */
  allocatable?(nodeName: string): Promise<Allocatable | undefined>;
}

export interface EnvironmentOptions {
  readonly pod: EnvironmentPod;
  /** See `chooseContainer`. */
  readonly containerName?: string;
  readonly read: EnvironmentReaders;
}

export interface ContainerEnvironment {
  readonly container: string;
  /** In the order in which the kubelet decides them: HOSTNAME and Services, envFrom, env. */
  readonly variables: ReadonlyMap<string, string>;
  /** What could not be computed, or was passed over as the kubelet does: a sentence each. */
  readonly warnings: readonly string[];
}

/**
 * The environment that the kubelet gives to a container (makeEnvironmentVariables in pkg/kubelet/kubelet_pods.go),
 * with HOSTNAME, which the container runtime adds; the image's own ENV is not in the API. Later sources win: Services,
 * envFrom in its order, env in its order. `$(NAME)` sees what was decided before it. Rejects with the Failures
 * CONTAINER_UNKNOWN, CONFIGMAP_UNREADABLE and SECRET_UNREADABLE.
 */
export async function computeEnvironment(options: EnvironmentOptions): Promise<ContainerEnvironment> {
  const { pod } = options;
  const container = chooseContainer(pod, options.containerName);
  const warnings: string[] = [];
  const sources = new SourceReader(pod.metadata.namespace ?? 'default', options.read);
  const services = await serviceEnvironment(pod, options.read, warnings);
  const decided = new Map<string, string>();

  for (const { prefix, configMapRef, secretRef } of container.envFrom ?? []) {
    const reference = configMapRef ?? secretRef;
    if (reference === undefined || reference === null) continue;
    const kind = configMapRef === reference ? 'ConfigMap' : 'Secret';
    const data = await sources.read(kind, reference.name ?? '', reference.optional === true);
    if (data === undefined) continue;
    const invalid: string[] = [];
    for (const [key, value] of data) {
      const name = `${prefix ?? ''}${key}`;
      if (isVariableName(name)) decided.set(name, value);
      else invalid.push(name);
    }
    if (invalid.length > 0) warnings.push(`${kind} ${reference.name}: ${invalid.sort().join(', ')} passed over, no name for a variable`);
  }

  const lookup = (name: string): string | undefined => decided.get(name) ?? services.get(name);
  for (const { name, value, valueFrom } of container.env ?? []) {
    const resolved = value === undefined || value === null || value === '' ? await resolveSource(name, valueFrom) : expand(value, lookup);
    if (resolved !== undefined) decided.set(name, resolved);
  }

  const variables = new Map<string, string>();
  const hostname = hostnameOf(pod);
  if (hostname !== undefined) variables.set('HOSTNAME', hostname);
  for (const [name, value] of services) if (!decided.has(name)) variables.set(name, value);
  for (const [name, value] of decided) {
    variables.delete(name);
    variables.set(name, value);
  }
  return { container: container.name, variables, warnings };

  /** Undefined: the variable is not set. */
  async function resolveSource(name: string, source: VariableSource | null | undefined): Promise<string | undefined> {
    if (source === undefined || source === null) return '';
    const { configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef, fileKeyRef } = source;
    if (fieldRef !== undefined && fieldRef !== null) return downward(name, fieldValue(pod, fieldRef.fieldPath));
    if (resourceFieldRef !== undefined && resourceFieldRef !== null)
      return downward(name, await resourceValue(pod, container, resourceFieldRef, nodeAllocatable));
    const reference = configMapKeyRef ?? secretKeyRef;
    if (reference !== undefined && reference !== null) {
      const kind = configMapKeyRef === reference ? 'ConfigMap' : 'Secret';
      return await sources.key(kind, reference.name ?? '', reference.key, reference.optional === true);
    }
    if (fileKeyRef !== undefined && fileKeyRef !== null) warnings.push(`${name} is not set: it comes from a file of the pod (fileKeyRef)`);
    return undefined;
  }

  async function nodeAllocatable(): Promise<Allocatable | undefined> {
    try {
      return await options.read.allocatable?.(pod.spec.nodeName ?? '');
    } catch {
      // Nodes are rarely for everybody to read; the warning that follows says what is missing.
      return undefined;
    }
  }

  function downward(name: string, result: DownwardValue): string | undefined {
    if ('value' in result) return result.value;
    warnings.push(`${name} is not set: ${result.problem}`);
    return undefined;
  }
}

/** Data of ConfigMaps and Secrets, each read once. */
class SourceReader {
  private readonly namespace: string;
  private readonly readers: EnvironmentReaders;
  private readonly known = new Map<string, Promise<ReadonlyMap<string, string> | undefined>>();

  constructor(namespace: string, readers: EnvironmentReaders) {
    this.namespace = namespace;
    this.readers = readers;
  }

  /** All of an object's data; undefined: it does not exist, and that is allowed. */
  async read(kind: 'ConfigMap' | 'Secret', name: string, optional: boolean): Promise<ReadonlyMap<string, string> | undefined> {
    let data;
    try {
      const key = `${kind}/${name}`;
      const pending = this.known.get(key) ?? this.fetch(kind, name);
      this.known.set(key, pending);
      data = await pending;
    } catch (error) {
      throw this.unreadable(kind, name, `cannot be read: ${messageOf(error)}`, error);
    }
    if (data === undefined && !optional) throw this.unreadable(kind, name, 'does not exist');
    return data;
  }

  /** One key of an object; undefined: it does not exist, and that is allowed. */
  async key(kind: 'ConfigMap' | 'Secret', name: string, key: string, optional: boolean): Promise<string | undefined> {
    const value = (await this.read(kind, name, optional))?.get(key);
    if (value === undefined && !optional) throw this.unreadable(kind, name, `has no key "${key}"`);
    return value;
  }

  private async fetch(kind: 'ConfigMap' | 'Secret', name: string): Promise<ReadonlyMap<string, string> | undefined> {
    const object = await (kind === 'ConfigMap' ? this.readers.configMap(name) : this.readers.secret(name));
    if (object === undefined) return undefined;
    const decode = (value: string): string => (kind === 'Secret' ? Buffer.from(value, 'base64').toString() : value);
    return new Map(Object.entries(object.data ?? {}).map(([key, value]) => [key, decode(value)]));
  }

  private unreadable(kind: 'ConfigMap' | 'Secret', name: string, problem: string, cause?: unknown): Failure {
    const plural = kind === 'ConfigMap' ? 'configmaps' : 'secrets';
    return new Failure(
      kind === 'ConfigMap' ? 'CONFIGMAP_UNREADABLE' : 'SECRET_UNREADABLE',
      `${kind} ${this.namespace}/${name}, which the environment needs, ${problem}`,
      {
        remedy:
          cause === undefined
            ? `look at it with "kubectl -n ${this.namespace} get ${plural} ${name}"`
            : `ask for the right to get ${plural} in namespace ${this.namespace}`,
        ...(cause === undefined ? {} : { cause }),
      },
    );
  }
}

/** `default/kubernetes` always, the namespace's own Services unless enableServiceLinks is false; a namespace's own `kubernetes` wins, as in the kubelet. */
async function serviceEnvironment(pod: EnvironmentPod, read: EnvironmentReaders, warnings: string[]): Promise<Map<string, string>> {
  const namespace = pod.metadata.namespace ?? 'default';
  const chosen = new Map<string, EnvironmentService>();
  const add = async (from: string, wanted: (service: EnvironmentService) => boolean): Promise<void> => {
    try {
      for (const service of await read.services(from)) if (wanted(service)) chosen.set(service.metadata.name, service);
    } catch (error) {
      warnings.push(`the variables of the Services in namespace ${from} are missing: ${messageOf(error)}`);
    }
  };
  await add('default', ({ metadata }) => metadata.name === 'kubernetes');
  if (pod.spec.enableServiceLinks !== false) await add(namespace, ({ spec }) => spec.clusterIP !== 'None' && (spec.clusterIP ?? '') !== '');
  return serviceVariables(chosen.values());
}

/** What HOSTNAME says; undefined with hostNetwork: the node's own name, which the API does not have. */
function hostnameOf({ metadata, spec }: EnvironmentPod): string | undefined {
  if (spec.hostNetwork === true) return undefined;
  const { hostname } = spec;
  return hostname !== undefined && hostname !== null && hostname !== '' ? hostname : metadata.name.slice(0, 63).replace(/[-.]+$/, '');
}

/** Since Kubernetes 1.34 any printable ASCII but `=` (RelaxedEnvironmentVariableValidation); before, the API server refused others. */
function isVariableName(name: string): boolean {
  return /^[\x20-\x3c\x3e-\x7e]+$/.test(name);
}
