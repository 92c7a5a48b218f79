import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Cluster, KubeObject, Manifest, Patch, Resource, Watch, WatchEvent } from '../../../src/cluster/types.ts';
import { Failure } from '../../../src/platform/errors.ts';
import { fakeCluster } from '../../harness/fake-cluster.ts';

type Json = Record<string, unknown>;

/** An API server in miniature: objects with versions, conflicts, merges and watches. */
export class ImitatedApi {
  readonly cluster: Cluster;
  /** By `secrets/kpeering-system/name`. */
  readonly objects = new Map<string, Json>();
  /** Of every write, in order: `patch secrets/kpeering-system/name`. */
  readonly writes: string[] = [];
  /** While it is set every request fails. */
  down = false;
  readonly #listeners = new Set<() => void>();
  #onAttempt: () => void = () => {};
  readonly #watches = new Set<(key: string, before: Json | undefined, after: Json | undefined) => void>();
  #version = 0;

  constructor() {
    this.cluster = fakeCluster({
      get: async (resource, name, { namespace } = {}) => resource.parse(await this.#existing(keyOf(resource, namespace, name))),
      list: async (resource, { namespace } = {}) => {
        await this.#answering();
        return [...this.objects].filter(([key]) => isIn(key, resource, namespace)).map(([, object]) => resource.parse(object));
      },
      create: async (resource, object, { namespace } = {}) => {
        await this.#answering();
        const key = keyOf(resource, namespace, String(object.metadata.name));
        this.writes.push(`create ${key}`);
        if (this.objects.has(key)) throw new Failure('API_EXISTS', `${key} exists`);
        return resource.parse(this.put(key, object));
      },
      patch: async (resource, name, change, { namespace } = {}) => {
        const key = keyOf(resource, namespace, name);
        const present = await this.#existing(key);
        this.writes.push(`patch ${key}`);
        return resource.parse(this.put(key, patched(present, change)));
      },
      watch: (resource, { namespace } = {}) => this.#watch(resource, namespace),
    });
  }

  /** Writes an object as whoever else does. */
  put(key: string, object: Json | Manifest): Json {
    const before = this.objects.get(key);
    const metadata = {
      uid: randomUUID(),
      ...recordOf(before?.['metadata']),
      ...recordOf(object['metadata']),
      resourceVersion: String(++this.#version),
    };
    const after: Json = { ...object, metadata };
    this.objects.set(key, after);
    this.#tell(key, before, after);
    return after;
  }

  /** Called after every change of an object, and after the watches have heard of it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves when `condition` is true: now, or after a change of an object. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve) => {
      const unsubscribe = this.onChange(() => {
        if (!condition()) return;
        unsubscribe();
        resolve();
      });
    });
  }

  /** Resolves with the next request. */
  async attempted(): Promise<void> {
    await new Promise<void>((resolve) => (this.#onAttempt = resolve));
  }

  remove(key: string): void {
    const before = this.objects.get(key);
    this.objects.delete(key);
    this.#tell(key, before, undefined);
  }

  #tell(key: string, before: Json | undefined, after: Json | undefined): void {
    for (const tell of this.#watches) tell(key, before, after);
    for (const listener of this.#listeners) listener();
  }

  async #answering(): Promise<void> {
    await setImmediate();
    this.#onAttempt();
    if (this.down) throw new Failure('API_UNREACHABLE', 'the API is down');
  }

  async #existing(key: string): Promise<Json> {
    await this.#answering();
    const object = this.objects.get(key);
    if (object === undefined) throw new Failure('NOT_FOUND', `there is no ${key}`);
    return object;
  }

  #watch<T extends KubeObject>(resource: Resource<T>, namespace: string | undefined): Watch<T> {
    const items = new Map<string, T>();
    const listeners = new Set<(event: WatchEvent<T>) => void>();
    const tell = (key: string, before: Json | undefined, after: Json | undefined): void => {
      if (!isIn(key, resource, namespace)) return;
      const previous = before === undefined ? undefined : resource.parse(before);
      if (after === undefined) {
        items.delete(key);
        if (previous !== undefined) for (const listener of listeners) listener({ type: 'deleted', object: previous });
        return;
      }
      const object = resource.parse(after);
      items.set(key, object);
      for (const listener of listeners) listener({ type: 'set', object, previous });
    };
    for (const [key, object] of this.objects) tell(key, undefined, object);
    this.#watches.add(tell);
    const close = async (): Promise<void> => {
      await setImmediate();
      this.#watches.delete(tell);
    };
    return {
      synced: Promise.resolve(),
      items,
      onChange: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  }
}

function keyOf(resource: Resource<KubeObject>, namespace: string | undefined, name: string): string {
  return `${resource.plural}/${namespace ?? ''}/${name}`;
}

function isIn(key: string, { plural }: Resource<KubeObject>, namespace: string | undefined): boolean {
  return key.startsWith(`${plural}/${namespace ?? ''}`);
}

function patched(present: Json, change: Patch): Json {
  if (change.kind === 'strategic') return strategic(present, change.object);
  if (change.kind !== 'merge') throw new Error(`no ${change.kind} here`);
  const wanted = recordOf(change.object['metadata'])['resourceVersion'];
  if (wanted !== undefined && wanted !== recordOf(present['metadata'])['resourceVersion'])
    throw new Failure('API_CONFLICT', 'changed meanwhile');
  return merged(present, change.object);
}

function merged(present: Json, change: Json): Json {
  const result = { ...present };
  for (const [key, value] of Object.entries(change)) {
    if (value === null) delete result[key];
    else result[key] = isRecord(value) ? merged(recordOf(result[key]), value) : value;
  }
  return result;
}

/** Lists of objects by their names. */
function strategic(present: Json, change: Json): Json {
  const lists = Object.entries(change).map(([key, value]): [string, unknown] => {
    const entries = Array.isArray(value) ? value.map(recordOf) : [];
    const old = Array.isArray(present[key]) ? present[key].map(recordOf) : [];
    return [key, old.map((entry) => merged(entry, entries.find(({ name }) => name === entry['name']) ?? {}))];
  });
  return { ...present, ...Object.fromEntries(lists) };
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function recordOf(value: unknown): Json {
  return isRecord(value) ? value : {};
}
