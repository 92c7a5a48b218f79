import type { Duplex, Readable } from 'node:stream';
import type { AbortOptions } from '../platform/abort.ts';
import type { Closeable } from '../platform/owned.ts';
import type { GrantedToken, TokenRequest } from './tokens.ts';

/** The part of every Kubernetes object that we use. */
export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly uid?: string | undefined;
    readonly resourceVersion?: string | undefined;
  };
}

/**
 * A kind of object: where the API has it, and the schema that checks what comes back (zod, in `resources.ts`).
 * The schema names only the fields that we read; unknown fields pass.
 */
export interface Resource<T extends KubeObject> {
  /** `Deployment` */
  readonly kind: string;
  /** `deployments` */
  readonly plural: string;
  /** `apps`; '' for the core group */
  readonly group: string;
  readonly version: string;
  readonly namespaced: boolean;
  parse(value: unknown): T;
}

export interface ListOptions extends AbortOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** A live copy of a list: list + watch, restarted for ever, with bookmarks, 410 Gone handled, and a liveness check. */
export interface Watch<T extends KubeObject> extends Closeable {
  /** Resolves after the first complete list; rejects if that fails (a Failure: 401, 403, unreachable…). */
  readonly synced: Promise<void>;
  /** Present objects; key `namespace/name`. */
  readonly items: ReadonlyMap<string, T>;
  /** Called after `items` changed; returns the function that unsubscribes. */
  onChange(listener: (event: WatchEvent<T>) => void): () => void;
}

export type WatchEvent<T> =
  | { readonly type: 'set'; readonly object: T; readonly previous: T | undefined }
  | { readonly type: 'deleted'; readonly object: T };

/** An object as it is written to the API: whole for `create`, or what is to be applied. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name?: string; readonly namespace?: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

export interface WriteOptions extends AbortOptions {
  /** Absent: the cluster's namespace, of a kind that has one. */
  readonly namespace?: string;
  /** Who the API server says has changed what (`metadata.managedFields`). `kpctl` where it is not given. */
  readonly fieldManager?: string;
  /** Everything is checked, by admission webhooks too, and nothing is stored (`dryRun=All`). */
  readonly dryRun?: boolean;
}

/** A change of an object (kubernetes.io, Update API Objects in Place Using kubectl patch; Server-Side Apply). */
export type Patch =
  | {
      /** Server-side apply: creates the object where there is none; `force` takes fields over from other managers. */
      readonly kind: 'apply';
      readonly object: Manifest;
      readonly force?: boolean;
    }
  /** RFC 7386: `null` removes a field, lists are replaced whole. With `metadata.resourceVersion` only of that version. */
  | { readonly kind: 'merge'; readonly object: Readonly<Record<string, unknown>> }
  /** Lists of objects are merged by their keys; built-in kinds only. */
  | { readonly kind: 'strategic'; readonly object: Readonly<Record<string, unknown>> }
  /** RFC 6902. */
  | { readonly kind: 'json'; readonly operations: readonly object[] };

export interface PatchOptions extends WriteOptions {
  /** `status`, `ephemeralcontainers`, `scale`. */
  readonly subresource?: string;
}

export interface DeleteOptions extends AbortOptions {
  readonly namespace?: string;
  /** What becomes of the objects that it owns; absent: the kind's default. */
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan';
  /** Only the object with this uid, or in this version; else Failure API_CONFLICT. */
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly dryRun?: boolean;
}

/** What may be asked of the API (authorization.k8s.io/v1 ResourceAttributes). */
export interface Action {
  readonly verb: string;
  readonly group?: string;
  readonly resource: string;
  readonly subresource?: string;
  /** Absent: in all namespaces, or of a kind that has none. */
  readonly namespace?: string;
  readonly name?: string;
}

export interface LogOptions extends AbortOptions {
  readonly container: string;
  /** Of the container before the last restart. */
  readonly previous?: boolean;
  readonly tailLines?: number;
  readonly limitBytes?: number;
}

/** One kind of a group and version, as discovery tells of it. */
export interface ApiResource {
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
}

/** A cluster as one kubeconfig context reaches it. */
export interface Cluster extends Closeable {
  /** Name of the context in use. */
  readonly context: string;
  /** The namespace to use when none is given: `-n`, else the context's, else `default`. */
  readonly namespace: string;
  /** `https://172.31.250.1:6443` */
  readonly server: string;
  /** Names or addresses of the API server, and of the proxy on the way to it. */
  readonly hosts: readonly string[];
  /** What port-forwards are carried by; undefined until one has been opened. */
  readonly transport: Transport | undefined;
  get<T extends KubeObject>(resource: Resource<T>, name: string, options?: ListOptions): Promise<T>;
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Promise<readonly T[]>;
  watch<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Watch<T>;
  /**
   * One port-forward to a port on the pod's loopback: over SPDY/3.1 (`create` on pods/portforward is enough), or where that does not get
   * through over WebSocket (`get` and `create`). What the pod's side refuses is an error of the duplex: Failure PORT_FORWARD_FAILED.
   * The duplex must never be half-closed (containerd ends the forward 1 s later); destroy it when done.
   */
  portForward(target: PodPort, options?: AbortOptions): Promise<Duplex>;
  /**
   * What a port of the pod's own address answers to an HTTP GET that the API server makes (`get` on pods/proxy). The server connects
   * from outside of the pod, as a port-forward does not. A status other than 2xx is a Failure with the server's words.
   */
  getFromPod(target: PodPort, path: string, options?: AbortOptions): Promise<string>;
  /** Failures: those of every request, and API_EXISTS, API_INVALID. Not sent again when its connection breaks. */
  create<T extends KubeObject>(resource: Resource<T>, object: Manifest, options?: WriteOptions): Promise<T>;
  /** Answers the object as it is then. Failures: those of every request, and API_CONFLICT, API_INVALID. */
  patch<T extends KubeObject>(resource: Resource<T>, name: string, change: Patch, options?: PatchOptions): Promise<T>;
  /** Begins the deletion; an object with finalizers, and a pod, ends later. Failures: those of every request (NOT_FOUND), and API_CONFLICT. */
  delete(resource: Resource<KubeObject>, name: string, options?: DeleteOptions): Promise<void>;
  /** What a container has written (`get` on pods/log). */
  podLog(pod: { readonly namespace: string; readonly name: string }, options: LogOptions): Promise<string>;
  /** The same, and what it writes from now on, until it ends. The caller destroys it. */
  followLog(pod: { readonly namespace: string; readonly name: string }, options: LogOptions): Promise<Readable>;
  /** Whether the user may do that (SelfSubjectAccessReview), which any user may ask. */
  can(action: Action, options?: AbortOptions): Promise<boolean>;
  /** Of the server: `{ major: 1, minor: 35, text: 'v1.35.4' }`. */
  version(options?: AbortOptions): Promise<{ readonly major: number; readonly minor: number; readonly text: string }>;
  /** The kinds of `v1`, `apps/v1` …; Failure NOT_FOUND where the server has no such group and version. */
  discover(groupVersion: string, options?: AbortOptions): Promise<readonly ApiResource[]>;
  /** The network has changed: no kept connection is used any more, and every watch asks again at once. What a request waits for is not given up. */
  refresh(): void;
  /** A token of a service account (`create` on serviceaccounts/token). Failures: those of every request, NOT_FOUND without such an account. */
  createToken(request: TokenRequest): Promise<GrantedToken>;
  /** The API server's name of the user (SelfSubjectReview), or undefined where it cannot be asked. */
  whoAmI(options?: AbortOptions): Promise<string | undefined>;
}

/** What a port-forward is spoken in, on the way to the API server. */
export type Transport = 'spdy' | 'websocket';

export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}
