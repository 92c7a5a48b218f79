import { Duplex } from 'node:stream';
import { podSchema } from '../../../../src/cluster/pods.ts';
import type { Cluster, KubeObject, ListOptions, Patch, PatchOptions, Resource, Watch } from '../../../../src/cluster/types.ts';
import type { Workload } from '../../../../src/cluster/workloads.ts';
import type { PreparationContext } from '../../../../src/kpctl/intercept/preparation.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

interface Entry {
  readonly name: string;
  readonly image: string;
  readonly [field: string]: unknown;
}

/** A pod as the API server has it, as far as these tests look. */
export interface ImitatedPod {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly annotations?: Record<string, string> };
  readonly spec: { readonly containers: readonly object[]; ephemeralContainers?: Entry[]; readonly [field: string]: unknown };
  readonly status: { ephemeralContainerStatuses?: { name: string; state: object }[]; readonly [field: string]: unknown };
}

export function readyPod(name: string, spec: object = {}): ImitatedPod {
  return {
    metadata: { name, namespace: 'shop' },
    spec: { containers: [{ name: 'web', ports: [{ name: 'http', containerPort: 8080 }] }], ...spec },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  };
}

export interface ImitationOptions {
  /** Labels of the namespace; undefined: it may not be read. */
  readonly labels?: Readonly<Record<string, string>>;
  /** What the kubelet says of an entry once it has been added. */
  readonly state?: object;
  /** KPEERING_SETTINGS of an operator that may be read. */
  readonly settings?: string;
  /** What the API server says to a patch. */
  readonly refuse?: () => Failure | undefined;
}

/** The pods of one workload, and an API server and a kubelet that add ephemeral containers to them. */
export class Imitation {
  readonly pods: ImitatedPod[];
  readonly patches: string[] = [];
  readonly #options: ImitationOptions;

  constructor(pods: readonly ImitatedPod[], options: ImitationOptions = {}) {
    this.pods = [...pods];
    this.#options = options;
  }

  get cluster(): Cluster {
    return fakeCluster({
      get: async <T extends KubeObject>(resource: Resource<T>, name: string) => resource.parse(this.#get(resource.plural, name)),
      list: async <T extends KubeObject>(resource: Resource<T>) => this.pods.map((pod) => resource.parse(pod)),
      patch: async <T extends KubeObject>(resource: Resource<T>, name: string, change: Patch, options?: PatchOptions) =>
        resource.parse(this.#patch(name, change, options)),
      watch: <T extends KubeObject>(resource: Resource<T>, options?: ListOptions) => this.#watch(resource, options),
      portForward: async () => answering('HTTP/1.1 200 OK\r\n\r\nready\n'),
    });
  }

  /** Names and images of what was added to a pod. */
  entries(name: string): readonly string[] {
    return this.#pod(name).spec.ephemeralContainers?.map((entry) => `${entry.name} ${entry.image}`) ?? [];
  }

  pod(name: string) {
    return podSchema.parse(this.#pod(name));
  }

  #get(plural: string, name: string): unknown {
    const { labels, settings } = this.#options;
    if (plural === 'pods') return this.#pod(name);
    if (plural === 'namespaces' && labels !== undefined) return { metadata: { name, labels } };
    if (plural === 'deployments' && settings !== undefined) {
      const env = [{ name: 'KPEERING_SETTINGS', value: settings }];
      return { metadata: { name }, spec: { selector: {}, template: { spec: { containers: [{ name: 'operator', env }] } } } };
    }
    throw new Failure('API_FORBIDDEN', `you may not get ${plural}`);
  }

  #pod(name: string): ImitatedPod {
    const found = this.pods.find(({ metadata }) => metadata.name === name);
    if (found === undefined) throw new Failure('NOT_FOUND', `pods "${name}" not found`);
    return found;
  }

  #patch(name: string, change: Patch, options: PatchOptions | undefined): ImitatedPod {
    this.patches.push(`${name} ${change.kind} ${options?.subresource}`);
    const refusal = this.#options.refuse?.();
    if (refusal !== undefined) throw refusal;
    const pod = this.#pod(name);
    if (change.kind !== 'strategic') throw new Error('another patch than a strategic one');
    const added = addedBy(change.object);
    pod.spec.ephemeralContainers = [...(pod.spec.ephemeralContainers ?? []), ...added];
    const state = this.#options.state ?? { running: {} };
    pod.status.ephemeralContainerStatuses = [
      ...(pod.status.ephemeralContainerStatuses ?? []),
      ...added.map((entry) => ({ name: entry.name, state })),
    ];
    return pod;
  }

  #watch<T extends KubeObject>(resource: Resource<T>, options: ListOptions | undefined): Watch<T> {
    const [, name = ''] = options?.fieldSelector?.split('=') ?? [];
    return {
      synced: Promise.resolve(),
      items: new Map([[name, resource.parse(this.#pod(name))]]),
      onChange: () => () => undefined,
      close: async () => {},
      [Symbol.asyncDispose]: async () => {},
    };
  }
}

function addedBy(object: Readonly<Record<string, unknown>>): Entry[] {
  return podSchema
    .parse({ metadata: { name: 'patch' }, ...object })
    .spec.ephemeralContainers.map(({ name, image = '' }) => ({ name, image }));
}

function answering(text: string): Duplex {
  return new Duplex({
    read: () => undefined,
    write(_chunk: unknown, _encoding: unknown, done: () => void) {
      this.push(text);
      done();
    },
  });
}

const workload: Workload = {
  type: 'pod',
  kind: 'Pod',
  name: 'web',
  namespace: 'shop',
  object: podSchema.parse(readyPod('web')),
};

/** What a preparation is given, and what it has said. */
export function contextFor(cluster: Cluster, change: Partial<PreparationContext> = {}): { context: PreparationContext; said: string[] } {
  const said: string[] = [];
  const terminal = {
    result: (line: string) => void said.push(line),
    progress: (line: string) => void said.push(line),
    warn: (line: string) => void said.push(`warning: ${line}`),
  };
  const questions = { interactive: false, ask: async () => '' };
  const port = { local: undefined, remote: 'http' };
  return { context: { cluster, workload, terminal, questions, yes: true, ports: [port], image: undefined, ...change }, said };
}
