import { connect } from 'node:net';
import type { Action, Cluster, KubeObject, Manifest, Resource } from '../../../../src/cluster/types.ts';
import { Examination } from '../../../../src/kpctl/doctor/examination.ts';
import type { Seen } from '../../../../src/kpctl/doctor/finding.ts';
import type { Check } from '../../../../src/kpctl/doctor/run-checks.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

/** A cluster as a test tells it. */
export interface Imitation {
  /** By plural. Objects without a namespace are in `shop`. */
  readonly objects?: Readonly<Record<string, readonly object[]>>;
  /** Plurals that the user may not see. */
  readonly hidden?: readonly string[];
  readonly can?: (action: Action) => boolean;
  /** What the API server makes of a dry-run pod. */
  readonly create?: (manifest: Manifest) => Promise<object> | object;
  /** Ports of this machine for those of every pod; absent: port-forwards are forbidden. */
  readonly ports?: Readonly<Record<number, number>>;
  readonly version?: () => ReturnType<Cluster['version']>;
  readonly namespace?: string;
  readonly workload?: string;
  readonly transport?: Cluster['transport'];
}

/** What a check says of an imitated cluster. */
export async function look(check: Check<Examination>, imitation: Imitation): Promise<readonly Seen[]> {
  const timer = setInterval(() => undefined, 1_000);
  try {
    await using examination = new Examination({
      open: () => Promise.resolve(imitatedCluster(imitation)),
      workload: imitation.workload,
      milliseconds: { api: 200, lookup: 2_000 },
    });
    return await check.look(examination, { signal: AbortSignal.timeout(3_000) });
  } finally {
    clearInterval(timer);
  }
}

export function imitatedCluster(imitation: Imitation): Cluster {
  const { objects = {}, hidden = [], can = () => true, ports, transport } = imitation;
  const check = (plural: string, verb: string): void => {
    if (hidden.includes(plural)) throw new Failure('API_FORBIDDEN', `may not ${verb} ${plural}`);
  };
  const found = <T extends KubeObject>(resource: Resource<T>, namespace: string | undefined): T[] =>
    (objects[resource.plural] ?? [])
      .map((object) => resource.parse(object))
      .filter(({ metadata }) => !resource.namespaced || namespace === undefined || (metadata.namespace ?? 'shop') === namespace);
  const cluster: Cluster = fakeCluster({
    namespace: imitation.namespace ?? 'shop',
    context: 'test',
    server: 'https://test',
    transport,
    version: imitation.version ?? (() => Promise.resolve({ major: 1, minor: 35, text: 'v1.35.4' })),
    whoAmI: () => Promise.resolve('ada'),
    can: (action) => Promise.resolve(can(action)),
    get: async (resource, name, options = {}) => {
      await Promise.resolve();
      check(resource.plural, 'get');
      const object = found(resource, options.namespace ?? cluster.namespace).find(({ metadata }) => metadata.name === name);
      if (object === undefined) throw new Failure('NOT_FOUND', `${resource.plural} "${name}" not found`);
      return object;
    },
    list: async (resource, options = {}) => {
      await Promise.resolve();
      check(resource.plural, 'list');
      const named = /^metadata\.name=(.+)$/.exec(options.fieldSelector ?? '')?.[1];
      return found(resource, options.namespace).filter(({ metadata }) => named === undefined || metadata.name === named);
    },
    create: async (resource, manifest) => {
      if (imitation.create === undefined) throw new Error('this test makes nothing');
      return resource.parse(await imitation.create(manifest));
    },
    portForward: async (target) => {
      await Promise.resolve();
      const port = ports?.[target.port];
      if (port === undefined) throw new Failure('API_FORBIDDEN', 'may not create pods/portforward');
      return connect({ host: '127.0.0.1', port });
    },
    close: () => Promise.resolve(),
  });
  return cluster;
}

/** What was seen, as lines: `verdict subject: seen`. */
export function lines(seen: readonly Seen[]): string[] {
  return seen.map(({ verdict, subject, seen: text }) => `${verdict} ${subject === undefined ? '' : `${subject}: `}${text}`);
}

const running = { running: { startedAt: '2026-01-01T00:00:00Z' } };

/** A pod of Deployment `web` in namespace `shop`. */
export function pod(
  name: string,
  {
    labels = {},
    annotations = {},
    sidecar = 'none',
    image = 'kpeering/kpeering:1',
    conditions = [],
    phase = 'Running',
    ephemeral = [],
  }: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly sidecar?: 'none' | 'running' | 'waiting';
    readonly image?: string;
    readonly conditions?: readonly object[];
    readonly phase?: string;
    readonly ephemeral?: readonly string[];
  } = {},
): object {
  const injected = sidecar === 'none' ? {} : { 'kpeering.io/injected': 'true' };
  return {
    metadata: {
      name,
      namespace: 'shop',
      uid: name,
      labels: { app: 'web', 'pod-template-hash': 'abc', ...injected, ...labels },
      annotations,
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-abc', uid: 'rs', controller: true }],
    },
    spec: {
      containers: [{ name: 'app', image: 'app:1' }],
      initContainers: sidecar === 'none' ? [] : [{ name: 'kpeering', image, restartPolicy: 'Always' }],
      ephemeralContainers: ephemeral.map((entry) => ({ name: entry, image })),
    },
    status: {
      phase,
      conditions: [{ type: 'Ready', status: 'True' }, ...conditions],
      initContainerStatuses:
        sidecar === 'none'
          ? []
          : [
              {
                name: 'kpeering',
                ready: sidecar === 'running',
                state: sidecar === 'running' ? running : { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } },
              },
            ],
      ephemeralContainerStatuses: ephemeral.map((entry, index) => ({ name: entry, state: index === 0 ? running : {} })),
    },
  };
}

/** A Deployment of kpeering's own. */
export function installed(name: string, replicas: number, readyReplicas: number, version = '0.1.0', settings?: object): object {
  const env = settings === undefined ? [] : [{ name: 'KPEERING_SETTINGS', value: JSON.stringify(settings) }];
  return {
    metadata: {
      name,
      namespace: 'kpeering-system',
      labels: { 'app.kubernetes.io/version': version, 'app.kubernetes.io/part-of': 'kpeering' },
    },
    spec: { replicas, selector: {}, template: { spec: { containers: [{ name: 'kpeering', image: 'kpeering/kpeering:1', env }] } } },
    status: { readyReplicas },
  };
}

/** The operator's Lease, renewed that long ago. */
export function lease(secondsAgo: number): object {
  const renewTime = new Date(Date.now() - secondsAgo * 1000).toISOString();
  return {
    metadata: { name: 'kpeering-operator', namespace: 'kpeering-system' },
    spec: { holderIdentity: 'a', renewTime, leaseDurationSeconds: 15 },
  };
}

/** The webhook's configuration with this authority. */
export function webhook(authority = ''): object {
  const clientConfig = {
    caBundle: Buffer.from(authority).toString('base64'),
    service: { namespace: 'kpeering-system', name: 'kpeering-webhook' },
  };
  return {
    metadata: { name: 'kpeering' },
    webhooks: ['pod', 'namespace'].map((name) => ({ name: `${name}.inject.kpeering.io`, clientConfig })),
  };
}

/** All is well. */
export const healthy = {
  objects: {
    deployments: [installed('kpeering-operator', 2, 2), installed('kpeering-gateway', 1, 1)],
    leases: [lease(1)],
    mutatingwebhookconfigurations: [webhook()],
    namespaces: [{ metadata: { name: 'shop' } }],
    pods: [pod('web-1', { sidecar: 'running' })],
  },
} satisfies Imitation;
