import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { deadline, type AbortOptions } from '../platform/abort.ts';
import { Failure } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { selfSigned } from './api/certificate.ts';
import { ApiServer } from './api/server.ts';
import { Users, type User } from './api/users.ts';
import { startClusterDns } from './cluster-dns.ts';
import { isReady, isTerminating } from './controllers/pods.ts';
import { reconcileEndpoints, serviceRules } from './controllers/services.ts';
import { reconcileWorkloads } from './controllers/workloads.ts';
import { coverEtc, hostsFile, mayCover, mountWorkspace, neededPaths } from './filesystem.ts';
import { kubeconfigText } from './kubeconfig.ts';
import { Kubelet } from './kubelet/kubelet.ts';
import type { LabImages } from './kubelet/images.ts';
import { Manifests, systemManifests } from './manifests.ts';
import { AddressPool, labAddresses } from './network/addresses.ts';
import { ServiceRules, setUpNode } from './network/node.ts';
import { Sandbox } from './network/sandbox.ts';
import { Store, type PodAdmission } from './objects/store.ts';
import { runProgram, type ProgramOptions, type ProgramOutcome } from './run.ts';

export interface LabOptions {
  /** Where the kubeconfig for the machine outside goes; needed with `apiListener` only. */
  readonly directory?: string;
  /** A listener of the machine's own network (`outsideListener`): the API is served there, too. */
  readonly apiListener?: Server;
  /** What manifests may name. */
  readonly images: LabImages;
  /** Folders and files that programs of the lab read: they are not hidden by the lab's own mounts. */
  readonly keepVisible?: readonly string[];
  /** Changes pods when they are created, as mutating webhooks do. */
  readonly admission?: PodAdmission;
  readonly bookmarkMilliseconds?: number;
  /** The first wait of a container that crashed twice; the kubelet's is 10 s. */
  readonly backoffMilliseconds?: number;
  readonly log: Logger;
}

/** A host of the lab as a place to run programs in. */
export interface LabHost {
  readonly address: string;
  /** Put before a program, in the lab's namespaces; it replaces itself by the program, so signals reach that. */
  readonly prefix: readonly string[];
}

export interface Lab extends Closeable {
  /** Paths of kubeconfigs of a user who may do anything: for the laptop; for the machine outside, if there is a listener. */
  readonly kubeconfigs: { readonly laptop: string; readonly outside: string | undefined };
  /** A folder of the lab's own file system, gone with the lab. */
  readonly workspace: string;
  readonly store: Store;
  /** Test hooks of the API: forget the history (410 Gone), cut all connections. */
  readonly api: Pick<ApiServer, 'expire' | 'disconnect'>;
  /** The host that reaches the API server, and nothing else of the cluster. */
  readonly laptop: LabHost;
  /** Applies multi-document YAML, as `kubectl apply -n namespace` does. Rejects with an Error that names what is wrong. */
  apply(manifests: string, namespace?: string): Promise<void>;
  delete(manifests: string, namespace?: string): Promise<void>;
  deletePod(namespace: string, name: string): void;
  createNamespace(name: string): Promise<void>;
  /** Where a running pod's programs run. Throws a Failure for a pod that does not run. */
  pod(namespace: string, name: string): LabHost;
  /** Names of a namespace's running pods whose labels include these; those that end are left out. */
  podNames(namespace: string, labels?: Readonly<Record<string, string>>): string[];
  execInPod(namespace: string, pod: string, argv: readonly string[], options?: ProgramOptions): Promise<ProgramOutcome>;
  runOnLaptop(argv: readonly string[], options?: ProgramOptions): Promise<ProgramOutcome>;
  /** Starts a program on the laptop: the caller's to end. */
  startOnLaptop(argv: readonly string[], options?: SpawnOptions): ChildProcess;
  logs(namespace: string, pod: string, container: string): Promise<string>;
  /** Resolves once every workload has its pods ready and Services lead to them. Rejects with a Failure that says what is missing (60 s). */
  waitReady(options?: AbortOptions): Promise<void>;
  /** Resolves once the rules in the kernel are those of the Services' present endpoints. */
  settled(): Promise<void>;
  /** Adds a user and writes a kubeconfig for the laptop; answers its path. */
  addUser(user: Omit<User, 'groups'> & { readonly groups?: readonly string[] }, namespace?: string): Promise<string>;
  /** The user's tokens are not accepted any more (401). */
  revoke(user: string): void;
}

/** Starts a cluster in miniature in the namespaces that this process is in (see `enterLab`): it changes their network and mounts. */
export async function startLab(options: LabOptions): Promise<Lab> {
  const { log, images } = options;
  const needed = neededPaths([
    ...(options.keepVisible ?? []),
    ...Object.values(images).flatMap(({ entrypoint }) => entrypoint.filter((word) => word.startsWith('/'))),
  ]);
  const workspace = mountWorkspace(needed);
  coverEtc(workspace);
  const pods = join(workspace, 'pods');
  mkdirSync(pods);
  // Sockets of name services and container runtimes, and lock files: not for pods.
  const cover = ['/run'].filter((folder) => mayCover(folder, [...needed, workspace]));

  const store = new Store(options.admission);
  const users = new Users();
  const serviceAddresses = new AddressPool('10.96', 20);
  const manifests = new Manifests(store, serviceAddresses);
  manifests.apply(systemManifests, 'default');
  await setUpNode();

  const kubelet = new Kubelet({ store, images, directory: pods, cover, backoffMilliseconds: options.backoffMilliseconds ?? 10_000, log });
  const rules = new ServiceRules(log);
  const reconcile = (): void => {
    reconcileWorkloads(store);
    reconcileEndpoints(store);
    rules.set(serviceRules(store, [labAddresses.dns]));
  };
  let planned: NodeJS.Immediate | undefined;
  const plan = (): void => {
    planned ??= setImmediate(() => {
      planned = undefined;
      try {
        reconcile();
      } catch (error) {
        log.error({ err: error }, 'the controllers');
      }
    });
  };
  const unsubscribe = store.onChange(plan);
  plan();

  const { key, certificate } = selfSigned('lab', [labAddresses.node, labAddresses.kubernetes, '127.0.0.1', 'kubernetes.default.svc']);
  const api = new ApiServer({
    certificate: { key, cert: certificate },
    store,
    users,
    connectToPod: (namespace, pod, port) => kubelet.connect(namespace, pod, port),
    remove: (collection, namespace, name) => manifests.remove(collection, namespace, name),
    bookmarkMilliseconds: options.bookmarkMilliseconds ?? 10_000,
    log,
  });
  const [laptop, dns] = await Promise.all([
    Sandbox.start({
      id: 'laptop',
      hostname: 'laptop',
      address: labAddresses.laptop,
      gateway: labAddresses.node,
      defaultRoute: false,
      link: 'laptop',
      routed: true,
      // Nobody answers: a refusal at once.
      resolvConf: 'nameserver 127.0.0.1\n',
      hosts: hostsFile([['127.0.1.1', 'laptop']]),
      directory: workspace,
      cover: [],
    }),
    startClusterDns(store, log),
    api.listen({ host: labAddresses.node, port: labAddresses.apiPort }),
  ]);

  const server = `https://${labAddresses.node}:${labAddresses.apiPort}`;
  const writeKubeconfig = (path: string, url: string, token: string, user: string, namespace = 'default'): string => {
    writeFileSync(path, kubeconfigText({ server: url, authority: certificate, token, user, namespace }), { mode: 0o600 });
    return path;
  };
  const admin = users.add({
    name: 'admin',
    groups: ['system:masters', 'system:authenticated'],
    rules: [{ verbs: ['*'], resources: ['*'] }],
  });
  let outside: string | undefined;
  if (options.apiListener !== undefined) {
    const address = options.apiListener.address();
    if (address === null || typeof address === 'string' || options.directory === undefined)
      throw new Error('the listener outside has no address, or there is no directory');
    await api.listen(options.apiListener);
    outside = writeKubeconfig(join(options.directory, 'kubeconfig'), `https://${address.address}:${address.port}`, admin, 'admin');
  }

  const sandboxOf = (namespace: string, name: string): Sandbox => {
    const sandbox = kubelet.find(namespace, name)?.sandbox;
    if (sandbox === undefined) throw new Failure('LAB_POD_NOT_RUNNING', `pod ${namespace}/${name} does not run`);
    return sandbox;
  };
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    unsubscribe();
    clearImmediate(planned);
    await api.close();
    await kubelet.close();
    await Promise.all([dns.close(), laptop.close()]);
    await rules.settled();
  };

  const lab: Lab = {
    kubeconfigs: { laptop: writeKubeconfig(join(workspace, 'kubeconfig'), server, admin, 'admin'), outside },
    workspace,
    store,
    api,
    laptop,
    apply: async (text, namespace = 'default') => {
      await Promise.resolve();
      manifests.apply(text, namespace);
    },
    delete: async (text, namespace = 'default') => {
      await Promise.resolve();
      manifests.delete(text, namespace);
    },
    deletePod: (namespace, name) => {
      const pod = store.pods.get(namespace, name);
      if (pod !== undefined) manifests.remove(store.pods, namespace, name);
    },
    createNamespace: async (name) => await lab.apply(`{ apiVersion: v1, kind: Namespace, metadata: { name: ${JSON.stringify(name)} } }`),
    pod: sandboxOf,
    podNames: (namespace, labels = {}) =>
      store.pods
        .list(namespace)
        .filter((pod) => !isTerminating(pod) && Object.entries(labels).every(([key, value]) => pod.metadata.labels[key] === value))
        .map(({ metadata }) => metadata.name),
    execInPod: async (namespace, name, argv, programOptions) =>
      await runProgram([...sandboxOf(namespace, name).prefix, ...argv], programOptions),
    runOnLaptop: async (argv, programOptions) => await runProgram([...laptop.prefix, ...argv], programOptions),
    startOnLaptop: (argv, spawnOptions = {}) => {
      const [file = '', ...rest] = [...laptop.prefix, ...argv];
      return spawn(file, rest, spawnOptions);
    },
    logs: async (namespace, name, container) => {
      const run = kubelet.find(namespace, name);
      return run === undefined ? '' : await readFile(run.logPath(container), 'utf8').catch(() => '');
    },
    settled: async () => {
      reconcile();
      await rules.settled();
    },
    waitReady: async ({ signal } = {}) => {
      await waitFor(store, deadline(60_000, signal));
      await lab.settled();
    },
    addUser: async (user, namespace) => {
      await Promise.resolve();
      const token = users.add({ groups: ['system:authenticated'], ...user });
      return writeKubeconfig(join(workspace, `kubeconfig-${encodeURIComponent(user.name)}`), server, token, user.name, namespace);
    },
    revoke: (user) => users.revoke(user),
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: async () => await lab.close(),
  };
  return lab;
}

/** Waits until nothing is missing. */
function waitFor(store: Store, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (missing(store).length > 0) return;
      done();
      resolve();
    };
    const unsubscribe = store.onChange(look);
    const abort = (): void => {
      done();
      reject(new Failure('LAB_NOT_READY', `not ready in time: ${missing(store).join('; ')}`));
    };
    const done = (): void => {
      unsubscribe();
      signal.removeEventListener('abort', abort);
    };
    if (signal.aborted) abort();
    else {
      signal.addEventListener('abort', abort, { once: true });
      look();
    }
  });
}

/** What workloads and pods lack, a clause each. */
function missing(store: Store): string[] {
  const workloads = [...store.deployments.list(), ...store.statefulSets.list()].flatMap(({ kind, metadata, spec, status }) => {
    const current = status['observedGeneration'] === metadata.generation;
    const [ready, all] = [status.readyReplicas ?? 0, status.replicas ?? 0];
    return current && ready === spec.replicas && all === spec.replicas
      ? []
      : [`${kind} ${metadata.name} has ${ready} of ${spec.replicas} pods ready`];
  });
  const pods = store.pods.list().flatMap((pod) => {
    if (isTerminating(pod) || isReady(pod) || pod.status.phase === 'Succeeded') return [];
    const reasons = [...pod.status.initContainerStatuses, ...pod.status.containerStatuses].flatMap(({ name, ready, state }) =>
      ready || state.terminated?.exitCode === 0 ? [] : [`${name}: ${JSON.stringify(state)}`],
    );
    return [`pod ${pod.metadata.name} is not ready (${reasons.join(', ')})`];
  });
  return [...workloads, ...pods];
}
