import type { Duplex } from 'node:stream';
import { podSchema, type Pod } from '../../../../src/cluster/pods.ts';
import type { KubeObject, Resource, Watch, WatchEvent } from '../../../../src/cluster/types.ts';
import { Exit } from '../../../../src/kpctl/exit/exit.ts';
import { Gateways } from '../../../../src/kpctl/exit/gateways.ts';
import { PodLink } from '../../../../src/kpctl/links/pod-link.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { acceptSession, newSessionId, type Session, type TunnelStream } from '../../../../src/tunnel/index.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';
import { handlers, laptopHello, socketPair } from '../../tunnel/pair.ts';

const NAMESPACE = 'kpeering-system';

/** An imitated gateway pod, whose tunnel is real. */
export class Replica {
  readonly name: string;
  /** `silent`: it does not answer, as on a node that is lost. `gone`: the API knows no such pod. */
  condition: 'serving' | 'silent' | 'gone' = 'serving';
  ready = true;
  deleting = false;
  /** Tunnels that were asked for. */
  attempts = 0;
  readonly sessions: Session[] = [];
  readonly #transports: Duplex[] = [];

  constructor(name: string) {
    this.name = name;
  }

  async connect(signal: AbortSignal | undefined): Promise<Duplex> {
    this.attempts += 1;
    if (this.condition === 'gone') throw new Failure('NOT_FOUND', `there is no pod ${this.name}`);
    if (this.condition === 'silent') {
      return await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }));
    }
    const [near, far] = await socketPair();
    this.#transports.push(near, far);
    const hello = { role: 'gateway', software: '0.1.0', name: `${NAMESPACE}/${this.name}` } as const;
    const incoming = handlers({ incoming: (stream) => void this.streams.push(stream.accept()) });
    void acceptSession(far, hello, incoming).then(
      (session) => this.sessions.push(session),
      () => undefined,
    );
    return near;
  }

  /** What laptops have opened. */
  readonly streams: TunnelStream[] = [];

  /** The transports break, and whatever comes next is as `condition` says. */
  die(condition: 'silent' | 'gone'): void {
    this.condition = condition;
    for (const transport of this.#transports) transport.destroy();
  }

  /** As the API has it. */
  get pod(): Pod {
    return podSchema.parse({
      metadata: {
        name: this.name,
        namespace: NAMESPACE,
        uid: `uid-${this.name}`,
        ...(this.deleting && { deletionTimestamp: '2026-01-01T00:00:00Z' }),
      },
      spec: { containers: [] },
      status: { phase: 'Running', conditions: [{ type: 'Ready', status: this.ready ? 'True' : 'False' }] },
    });
  }

  end(): void {
    for (const transport of this.#transports) transport.destroy();
  }
}

/** A gateway of some replicas, and an exit that uses it. */
export class Stage implements AsyncDisposable {
  readonly replicas: readonly Replica[];
  readonly exit: Exit;
  /** `gateway-1 lost`, in their order; `gateway-1 > gateway-2`. */
  readonly events: string[] = [];
  readonly #watches = new Set<(replica: Replica) => void>();
  readonly #eventful: (() => void)[] = [];

  /** `watched`: the user may watch the pods. */
  constructor(names: readonly string[], { watched = true }: { readonly watched?: boolean } = {}) {
    this.replicas = names.map((name) => new Replica(name));
    const cluster = fakeCluster({
      list: async (resource) => await Promise.resolve(this.#present().map(({ pod }) => resource.parse(pod))),
      watch: (resource) => this.#watch(resource, watched),
      get: () => Promise.reject(new Failure('NOT_FOUND', 'there is no such object')),
      portForward: async ({ pod }, { signal } = {}) => await this.replica(pod).connect(signal),
    });
    const gateways = new Gateways(cluster);
    this.exit = new Exit({
      choose: async (options) => await gateways.choose(options),
      pods: gateways,
      link: (pod, { onEvent, onDraining }) =>
        new PodLink({
          cluster,
          pod,
          hello: { ...laptopHello, id: newSessionId() },
          onIncoming: (stream) => stream.refuse('denied', 'not expected'),
          onEvent,
          onDraining,
        }),
      onEvent: (pod, { kind }) => this.#happened(`${pod} ${kind}`),
      onMoved: (from, to) => this.#happened(`${from} > ${to}`),
    });
  }

  replica(name: string): Replica {
    const found = this.replicas.find((replica) => replica.name === name);
    if (found === undefined) throw new Error(`the test has no ${name}`);
    return found;
  }

  /** The one that new flows take, and the others. */
  get current(): Replica {
    return this.replica(this.exit.link?.pod.name ?? '');
  }

  get others(): readonly Replica[] {
    return this.replicas.filter((replica) => replica !== this.current);
  }

  /** The API tells those who watch how the replica is now. */
  tell(replica: Replica): void {
    for (const tell of this.#watches) tell(replica);
  }

  /** Resolves when that has happened. */
  async until(event: (text: string) => boolean): Promise<void> {
    while (!this.events.some((text) => event(text))) await new Promise<void>((resolve) => this.#eventful.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.exit.close();
    for (const replica of this.replicas) replica.end();
  }

  #happened(text: string): void {
    this.events.push(text);
    for (const wake of this.#eventful.splice(0)) wake();
  }

  #present(): Replica[] {
    return this.replicas.filter(({ condition }) => condition !== 'gone');
  }

  #watch<T extends KubeObject>(resource: Resource<T>, allowed: boolean): Watch<T> {
    const items = new Map(this.#present().map(({ name, pod }) => [`${NAMESPACE}/${name}`, resource.parse(pod)]));
    const listeners = new Set<(event: WatchEvent<T>) => void>();
    const change = (replica: Replica): void => {
      const key = `${NAMESPACE}/${replica.name}`;
      const object = resource.parse(replica.pod);
      const previous = items.get(key);
      if (replica.condition === 'gone') items.delete(key);
      else items.set(key, object);
      for (const listener of listeners)
        listener(replica.condition === 'gone' ? { type: 'deleted', object } : { type: 'set', object, previous });
    };
    this.#watches.add(change);
    const close = async (): Promise<void> => void this.#watches.delete(change);
    return {
      synced: allowed ? Promise.resolve() : Promise.reject(new Failure('API_FORBIDDEN', 'may not watch')),
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
