import type { Cluster, KubeObject, ListOptions, Resource, Watch, WatchEvent } from '../../../src/cluster/types.ts';
import { Failure } from '../../../src/platform/errors.ts';

type Allowed = (options: ListOptions & { readonly plural: string }) => boolean | Failure;

interface OpenWatch {
  readonly plural: string;
  readonly namespace: string | undefined;
  change(type: 'set' | 'deleted', raw: KubeObject): void;
}

/** The watching part of a cluster, held in memory: what the records are tested with without an API server. */
export class FakeWatches implements Pick<Cluster, 'watch'> {
  /** Watches that were ever started. */
  asked = 0;
  private readonly objects: Map<string, KubeObject[]>;
  private readonly allowed: Allowed;
  private readonly watches = new Set<OpenWatch>();

  constructor(objects: Readonly<Record<string, readonly KubeObject[]>>, allowed: Allowed = () => true) {
    this.objects = new Map(Object.entries(objects).map(([plural, list]) => [plural, [...list]]));
    this.allowed = allowed;
  }

  get open(): number {
    return this.watches.size;
  }

  set(plural: string, raw: KubeObject): void {
    for (const watch of this.watches) if (watch.plural === plural) watch.change('set', raw);
  }

  remove(plural: string, raw: KubeObject): void {
    for (const watch of this.watches) if (watch.plural === plural) watch.change('deleted', raw);
  }

  watch<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Watch<T> {
    this.asked += 1;
    const { plural } = resource;
    const { namespace } = options;
    const verdict = this.allowed({ ...options, plural });
    const failure = verdict instanceof Failure ? verdict : new Failure('API_FORBIDDEN', `${plural} is forbidden`);
    const items = new Map<string, T>();
    const listeners = new Set<(event: WatchEvent<T>) => void>();
    const change = (type: 'set' | 'deleted', raw: KubeObject): void => {
      if (namespace !== undefined && raw.metadata.namespace !== namespace) return;
      const object = resource.parse(raw);
      const key = `${raw.metadata.namespace ?? ''}/${raw.metadata.name}`;
      const previous = items.get(key);
      if (type === 'set') items.set(key, object);
      else items.delete(key);
      for (const listener of listeners) listener(type === 'set' ? { type, object, previous } : { type, object });
    };
    const entry: OpenWatch = { plural, namespace, change };
    this.watches.add(entry);
    if (verdict === true) for (const raw of this.objects.get(plural) ?? []) change('set', raw);
    const synced = verdict === true ? Promise.resolve() : Promise.reject(failure);
    synced.catch(() => {});
    const close = (): Promise<void> => {
      this.watches.delete(entry);
      return Promise.resolve();
    };
    return {
      synced,
      items,
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  }
}
