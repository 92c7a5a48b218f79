import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import type { LabObject } from './schemas.ts';

/** A kind of object: its names in the API, and the schema of what the lab reads of it. */
export interface ApiKind<T extends LabObject> {
  /** `Deployment` */
  readonly kind: string;
  /** `deployments` */
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  /** `apps`; '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly namespaced: boolean;
  readonly schema: z.ZodType<T>;
}

export interface StoreEvent<T extends LabObject> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** With the resourceVersion of this change. */
  readonly object: T;
  readonly previous: T | undefined;
  readonly version: number;
}

/** The cluster-wide counter behind `resourceVersion`. */
export interface VersionCounter {
  current: number;
}

/** How many changes a collection remembers for watches: older resourceVersions are 410 Gone. */
const HISTORY = 1000;

/** All objects of one kind, with the recent changes. Objects are never changed in place. */
export class Collection<T extends LabObject> {
  readonly kind: ApiKind<T>;
  readonly #counter: VersionCounter;
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<(event: StoreEvent<T>) => void>();
  #history: StoreEvent<T>[] = [];
  /** The newest version that the history no longer tells. */
  #forgotten = 0;

  constructor(kind: ApiKind<T>, counter: VersionCounter) {
    this.kind = kind;
    this.#counter = counter;
  }

  get version(): number {
    return this.#counter.current;
  }

  /** `namespace` is '' for objects without one. */
  get(namespace: string, name: string): T | undefined {
    return this.#objects.get(`${namespace}/${name}`);
  }

  /** Sorted by namespace and name, as etcd has them. */
  list(namespace?: string): T[] {
    const all = [...this.#objects.entries()].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, object]) => object);
    return namespace === undefined ? all : all.filter(({ metadata }) => (metadata.namespace ?? '') === namespace);
  }

  /** Checks what a manifest says and stores it. Throws a ZodError. */
  admit(value: unknown): T {
    return this.put(this.kind.schema.parse(value));
  }

  /** Adds or replaces; an object that is the same as before makes no event. Answers what is stored. */
  put(object: T): T {
    const { metadata } = object;
    const key = `${metadata.namespace ?? ''}/${metadata.name}`;
    const previous = this.#objects.get(key);
    const kept = {
      uid: previous?.metadata.uid ?? (metadata.uid === '' ? randomUUID() : metadata.uid),
      creationTimestamp: previous?.metadata.creationTimestamp ?? `${new Date().toISOString().slice(0, 19)}Z`,
    };
    if (previous !== undefined) {
      const { resourceVersion } = previous.metadata;
      if (isDeepStrictEqual({ ...object, metadata: { ...metadata, ...kept, resourceVersion } }, previous)) return previous;
    }
    const version = this.#counter.current + 1;
    this.#counter.current = version;
    const stored = { ...object, metadata: { ...metadata, ...kept, resourceVersion: String(version) } };
    this.#objects.set(key, stored);
    this.#emit({ type: previous === undefined ? 'ADDED' : 'MODIFIED', object: stored, previous, version });
    return stored;
  }

  delete(namespace: string, name: string): T | undefined {
    const previous = this.get(namespace, name);
    if (previous === undefined) return undefined;
    this.#objects.delete(`${namespace}/${name}`);
    const version = this.#counter.current + 1;
    this.#counter.current = version;
    const object = { ...previous, metadata: { ...previous.metadata, resourceVersion: String(version) } };
    this.#emit({ type: 'DELETED', object, previous, version });
    return object;
  }

  /** The changes after a version, oldest first; undefined when some are forgotten. */
  since(version: number): readonly StoreEvent<T>[] | undefined {
    if (version < this.#forgotten) return undefined;
    return this.#history.filter((event) => event.version > version);
  }

  /** Forgets the history, as a compaction of etcd does: watches from before are 410 Gone. */
  compact(): void {
    this.#history = [];
    this.#counter.current += 1;
    this.#forgotten = this.#counter.current;
  }

  /** Called after each change; returns the function that unsubscribes. */
  onChange(listener: (event: StoreEvent<T>) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #emit(event: StoreEvent<T>): void {
    this.#history.push(event);
    if (this.#history.length > HISTORY) this.#forgotten = this.#history.shift()?.version ?? this.#forgotten;
    for (const listener of this.#listeners) listener(event);
  }
}
