import type { Duplex } from 'node:stream';
import type { AbortOptions } from '../platform/abort.ts';
import type { Closeable } from '../platform/owned.ts';

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

/** A cluster as one kubeconfig context reaches it. */
export interface Cluster extends Closeable {
  /** Name of the context in use. */
  readonly context: string;
  /** The namespace to use when none is given: `-n`, else the context's, else `default`. */
  readonly namespace: string;
  /** `https://172.31.250.1:6443` */
  readonly server: string;
  get<T extends KubeObject>(resource: Resource<T>, name: string, options?: ListOptions): Promise<T>;
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Promise<readonly T[]>;
  watch<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Watch<T>;
  /**
   * One port-forward to a port on the pod's loopback, over SPDY/3.1 (`create` on pods/portforward is enough).
   * The duplex must never be half-closed (containerd ends the forward 1 s later); destroy it when done.
   */
  portForward(target: PodPort, options?: AbortOptions): Promise<Duplex>;
  /**
   * What a port of the pod's own address answers to an HTTP GET that the API server makes (`get` on pods/proxy). The server connects
   * from outside of the pod, as a port-forward does not. A status other than 2xx is a Failure with the server's words.
   */
  getFromPod(target: PodPort, path: string, options?: AbortOptions): Promise<string>;
  /** The API server's name of the user (SelfSubjectReview), or undefined where it cannot be asked. */
  whoAmI(options?: AbortOptions): Promise<string | undefined>;
}

export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}
