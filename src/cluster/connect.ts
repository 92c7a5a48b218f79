import type { OutgoingHttpHeaders } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { AbortOptions } from '../platform/abort.ts';
import { ExitCode, Failure } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { ApiClient, type ApiRequest } from './api-client.ts';
import { apiServer } from './api-server.ts';
import { credentialSource } from './credentials.ts';
import type { UserConfig } from './kubeconfig-schema.ts';
import type { ContextSettings } from './kubeconfig-schema.ts';
import { loadContext } from './kubeconfig.ts';
import { listAll, parseObject } from './lists.ts';
import { pods } from './pods.ts';
import { PortForwarder } from './port-forward.ts';
import { resourceName, resourcePath } from './resource.ts';
import { can, discover, serverVersion, whoAmI } from './self.ts';
import { createToken, type GrantedToken, type TokenRequest } from './tokens.ts';
import type {
  Action,
  ApiResource,
  Cluster,
  DeleteOptions,
  KubeObject,
  ListOptions,
  LogOptions,
  Manifest,
  Patch,
  PatchOptions,
  PodPort,
  Resource,
  Transport,
  Watch,
  WriteOptions,
} from './types.ts';
import { ResourceWatch } from './watch.ts';
import { createObject, deleteObject, patchObject } from './writes.ts';

/** Which cluster, and as whom. */
export interface ConnectOptions {
  /** The kubeconfig's path; absent: $KUBECONFIG, else ~/.kube/config, else the pod's service account. */
  readonly kubeconfig?: string;
  /** Absent: the current context. */
  readonly context?: string;
  /** Absent: the context's, else `default`. */
  readonly namespace?: string;
  /** Impersonate this user, instead of the kubeconfig's `as`. */
  readonly as?: string;
  /** Impersonate these groups, instead of the kubeconfig's `as-groups`. */
  readonly asGroups?: readonly string[];
  /** What port-forwards must use. Absent: SPDY, or WebSocket where that does not get through. */
  readonly transport?: Transport;
  /** Hears of watches that fail and are tried again. */
  readonly logger?: Logger;
}

/**
 * The cluster that the kubeconfig's context names. Reads the kubeconfig, and connects at the first request. Failures:
 * KUBECONFIG_MISSING, KUBECONFIG_INVALID, CONTEXT_UNKNOWN, AUTH_PROVIDER_UNSUPPORTED; of every request also
 * API_UNREACHABLE, API_TLS, API_UNAUTHORIZED, API_FORBIDDEN, NOT_FOUND, API_ERROR, EXEC_PLUGIN_FAILED.
 */
export async function connectCluster(options: ConnectOptions = {}): Promise<Cluster> {
  const settings = await loadContext(options);
  const client = new ApiClient(apiServer(settings), credentialSource(settings), impersonation(settings.user, options));
  return new KubernetesCluster(settings, client, options);
}

class KubernetesCluster implements Cluster {
  readonly context: string;
  readonly namespace: string;
  readonly server: string;
  readonly hosts: readonly string[];
  readonly #client: ApiClient;
  readonly #portForwarder: PortForwarder;
  readonly #logger: Logger | undefined;
  readonly #watches = new Set<Pick<ResourceWatch<KubeObject>, 'refresh' | 'close'>>();

  constructor(settings: ContextSettings, client: ApiClient, options: ConnectOptions) {
    this.context = settings.context;
    this.namespace = options.namespace ?? settings.namespace ?? 'default';
    this.server = client.server.url;
    this.hosts = client.server.hosts;
    this.#client = client;
    this.#portForwarder = new PortForwarder(client, options.transport);
    this.#logger = options.logger;
  }

  async get<T extends KubeObject>(resource: Resource<T>, name: string, options: ListOptions = {}): Promise<T> {
    const namespace = this.#namespaceOf(resource, options);
    const object = await this.#client.json({
      method: 'GET',
      path: resourcePath(resource, namespace, name),
      intent: { verb: 'get', resource: resourceName(resource), namespace, name },
      ...(options.signal !== undefined && { signal: options.signal }),
    });
    return parseObject(resource, object);
  }

  async list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Promise<readonly T[]> {
    return (await listAll(this.#client, resource, options)).items;
  }

  watch<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Watch<T> {
    const watch = new ResourceWatch(this.#client, resource, options, this.#logger);
    this.#watches.add(watch);
    void watch.ended.then(() => this.#watches.delete(watch));
    return watch;
  }

  get transport(): Transport | undefined {
    return this.#portForwarder.transport;
  }

  async portForward(target: PodPort, options: AbortOptions = {}): Promise<Duplex> {
    return await this.#portForwarder.open(target, options);
  }

  async getFromPod({ namespace, pod, port }: PodPort, path: string, options: AbortOptions = {}): Promise<string> {
    return await this.#client.text({
      method: 'GET',
      path: `${resourcePath(pods, namespace, `${pod}:${port}`)}/proxy${path}`,
      headers: { accept: '*/*' },
      intent: { verb: 'get', resource: 'pods/proxy', namespace, name: pod },
      ...options,
    });
  }

  async create<T extends KubeObject>(resource: Resource<T>, object: Manifest, options: WriteOptions = {}): Promise<T> {
    return await createObject(this.#client, resource, this.#namespaceOf(resource, options), object, options);
  }

  async patch<T extends KubeObject>(resource: Resource<T>, name: string, change: Patch, options: PatchOptions = {}): Promise<T> {
    return await patchObject(this.#client, resource, this.#namespaceOf(resource, options), name, change, options);
  }

  async delete(resource: Resource<KubeObject>, name: string, options: DeleteOptions = {}): Promise<void> {
    await deleteObject(this.#client, resource, this.#namespaceOf(resource, options), name, options);
  }

  async podLog({ namespace, name }: { readonly namespace: string; readonly name: string }, options: LogOptions): Promise<string> {
    return await this.#client.text(logRequest(namespace, name, options));
  }

  async followLog({ namespace, name }: { readonly namespace: string; readonly name: string }, options: LogOptions): Promise<Readable> {
    return await this.#client.stream(logRequest(namespace, name, { ...options, follow: true }));
  }

  async can(action: Action, options: AbortOptions = {}): Promise<boolean> {
    return await can(this.#client, action, options);
  }

  async version(options: AbortOptions = {}): Promise<{ readonly major: number; readonly minor: number; readonly text: string }> {
    return await serverVersion(this.#client, options);
  }

  async discover(groupVersion: string, options: AbortOptions = {}): Promise<readonly ApiResource[]> {
    return await discover(this.#client, groupVersion, options);
  }

  async createToken(request: TokenRequest): Promise<GrantedToken> {
    return await createToken(this.#client, request);
  }

  async whoAmI(options: AbortOptions = {}): Promise<string | undefined> {
    return await whoAmI(this.#client, options);
  }

  refresh(): void {
    this.#client.dropIdle();
    for (const watch of this.#watches) watch.refresh();
  }

  #namespaceOf(resource: Resource<KubeObject>, options: { readonly namespace?: string }): string | undefined {
    return resource.namespaced ? (options.namespace ?? this.namespace) : undefined;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#watches].map(async (watch) => await watch.close()));
    this.#client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function logRequest(namespace: string, name: string, { signal, ...options }: LogOptions & { readonly follow?: boolean }): ApiRequest {
  const query = new URLSearchParams(Object.entries(options).map(([key, value]): [string, string] => [key, String(value)]));
  return {
    method: 'GET',
    path: `${resourcePath(pods, namespace, name)}/log?${query.toString()}`,
    headers: { accept: '*/*' },
    intent: { verb: 'get', resource: 'pods/log', namespace, name },
    ...(signal !== undefined && { signal }),
  };
}

/** The headers of impersonation (kubernetes.io, Authenticating: user impersonation). */
function impersonation(user: UserConfig, options: ConnectOptions): OutgoingHttpHeaders {
  const name = options.as ?? user.as;
  const groups = options.asGroups ?? user['as-groups'];
  const uid = user['as-uid'];
  const extra = Object.entries(user['as-user-extra']);
  if (name === undefined) {
    if (groups.length === 0 && uid === undefined && extra.length === 0) return {};
    throw new Failure('KUBECONFIG_INVALID', 'groups, a uid or extra fields are to be impersonated without a user', {
      remedy: 'name the user with --as',
      exitCode: ExitCode.usage,
    });
  }
  const headers: OutgoingHttpHeaders = { 'Impersonate-User': name };
  if (groups.length > 0) headers['Impersonate-Group'] = [...groups];
  if (uid !== undefined) headers['Impersonate-Uid'] = uid;
  for (const [key, values] of extra) headers[`Impersonate-Extra-${escapeKey(key)}`] = values;
  return headers;
}

/** Percent-encodes what may not stand in a header's name (client-go, transport/round_trippers.go). */
function escapeKey(key: string): string {
  return [...Buffer.from(key)]
    .map((byte) => {
      const character = String.fromCodePoint(byte);
      return /[!#$&'*+.^_`|~0-9A-Za-z-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}
