import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { podResolvConf } from '../../simulator/dns/search.ts';
import { computeEnvironment } from '../../simulator/environment/index.ts';
import { isTerminating } from '../controllers/pods.ts';
import { hostsFile } from '../filesystem.ts';
import { labAddresses } from '../network/addresses.ts';
import { Sandbox } from '../network/sandbox.ts';
import type { Condition, Container, Pod, PodStatus } from '../objects/schemas.ts';
import type { Store } from '../objects/store.ts';
import { ManagedContainer } from './container.ts';
import { findImage, type LabImages } from './images.ts';
import { privilegePrefix } from './privileges.ts';
import { volumePrefix } from './volumes.ts';

export interface PodRunOptions {
  readonly store: Store;
  readonly images: LabImages;
  /** Of the sandbox and its link: a number that no other pod of this lab has had. */
  readonly id: string;
  readonly address: string;
  readonly directory: string;
  readonly cover: readonly string[];
  readonly backoffMilliseconds: number;
  readonly log: Logger;
}

/** One pod on the node: what the kubelet does with it from its creation to its end. */
export class PodRun {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly #options: PodRunOptions;
  readonly #init: ManagedContainer[] = [];
  readonly #main: ManagedContainer[] = [];
  readonly #sidecars: ManagedContainer[] = [];
  readonly #runs: Promise<number>[] = [];
  #sandbox: Sandbox | undefined;
  #initialized = false;
  #ending: Promise<void> | undefined;
  #began: Promise<void> | undefined;
  /** Set once the pod cannot run any more: all containers have ended for good. */
  #over: 'Succeeded' | 'Failed' | undefined;

  constructor(pod: Pod, options: PodRunOptions) {
    this.namespace = pod.metadata.namespace ?? '';
    this.name = pod.metadata.name;
    this.uid = pod.metadata.uid;
    this.#options = options;
  }

  /** The running pod's network; undefined before it is there. */
  get sandbox(): Sandbox | undefined {
    return this.#ending === undefined ? this.#sandbox : undefined;
  }

  logPath(container: string): string {
    return join(this.#options.directory, `${this.#options.id}.${container}.log`);
  }

  get #volumes(): string {
    return join(this.#options.directory, `${this.#options.id}.volumes`);
  }

  start(pod: Pod): void {
    this.#began = this.#run(pod).catch((error: unknown) => {
      if (this.#ending !== undefined) return;
      this.#options.log.error({ err: error, pod: this.name }, 'the pod cannot be run');
      this.#over = 'Failed';
      this.#write(messageOf(error));
    });
  }

  /** SIGTERM to the application, then to the sidecars in reverse order, and the end of the pod's network, within the grace. */
  end(graceMilliseconds: number): Promise<void> {
    this.#ending ??= this.#end(graceMilliseconds);
    return this.#ending;
  }

  async #end(graceMilliseconds: number): Promise<void> {
    const deadline = Date.now() + graceMilliseconds;
    const rest = (): number => Math.max(0, deadline - Date.now());
    const plain = this.#init.filter((container) => !this.#sidecars.includes(container));
    await Promise.all([...this.#main, ...plain].map(async (container) => await container.stop(rest())));
    for (const sidecar of this.#sidecars.toReversed()) await sidecar.stop(rest());
    // A start under way ends by itself: its containers have been stopped, and it makes no more.
    await this.#began;
    await Promise.all([...this.#main, ...this.#init].map(async (container) => await container.stop(0)));
    await Promise.all(this.#runs);
    await this.#sandbox?.close();
    rmSync(this.#volumes, { recursive: true, force: true });
  }

  async #run(pod: Pod): Promise<void> {
    const { id, address, directory, cover } = this.#options;
    const { hostname = this.name.slice(0, 63), subdomain } = pod.spec;
    const names = subdomain === undefined ? [hostname] : [`${hostname}.${subdomain}.${this.namespace}.svc.cluster.local`, hostname];
    this.#sandbox = await Sandbox.start({
      id,
      hostname,
      address,
      gateway: labAddresses.podGateway,
      defaultRoute: true,
      link: `pod${id}`,
      routed: false,
      resolvConf: podResolvConf({ nameservers: [labAddresses.dns], namespace: this.namespace }),
      hosts: hostsFile([[address, ...names]]),
      directory,
      cover,
    });
    this.#main.push(...pod.spec.containers.map((container) => this.#manage(pod, container, false)));
    for (const container of pod.spec.initContainers) {
      if (this.#ending !== undefined) return;
      const sidecar = container.restartPolicy === 'Always';
      const managed = this.#manage(pod, container, true, sidecar);
      this.#init.push(managed);
      if (sidecar) this.#sidecars.push(managed);
      const run = managed.run();
      this.#runs.push(run);
      if (sidecar) await managed.started;
      else if ((await run) !== 0) {
        if (this.#ending === undefined) throw new Error(`the init container ${container.name} failed`);
        return;
      }
    }
    if (this.#ending !== undefined) return;
    this.#initialized = true;
    const runs = this.#main.map(async (container) => await container.run());
    this.#runs.push(...runs);
    this.#write();
    this.#followEnd(runs).catch((error: unknown) => this.#options.log.error({ err: error, pod: this.name }, 'the end of the pod'));
  }

  /** A pod whose containers have all ended for good is over; its sidecars end with it. */
  async #followEnd(runs: readonly Promise<number>[]): Promise<void> {
    const codes = await Promise.all(runs);
    if (this.#ending !== undefined) return;
    this.#over = codes.every((code) => code === 0) ? 'Succeeded' : 'Failed';
    for (const sidecar of this.#sidecars.toReversed()) await sidecar.stop(2000);
    this.#write();
  }

  #manage(pod: Pod, container: Container, init: boolean, sidecar = false): ManagedContainer {
    const { images, address, backoffMilliseconds, cover } = this.#options;
    const image = findImage(images, container.image);
    const { restartPolicy } = pod.spec;
    return new ManagedContainer({
      container,
      argv: image === undefined ? undefined : [...(container.command ?? image.entrypoint), ...(container.args ?? [])],
      prefix: this.#sandbox?.prefix ?? [],
      setUp: () => [...volumePrefix(pod, container, { directory: this.#volumes, cover }), ...privilegePrefix(pod, container)],
      address,
      environment: async () => ({ PATH: systemPath, ...image?.environment, ...(await this.#environment(container)) }),
      log: this.logPath(container.name),
      restarts: (code) =>
        sidecar ||
        (init ? code !== 0 && restartPolicy !== 'Never' : restartPolicy === 'Always' || (restartPolicy === 'OnFailure' && code !== 0)),
      backoffMilliseconds,
      changed: () => this.#write(),
    });
  }

  async #environment(container: Container): Promise<Readonly<Record<string, string>>> {
    const { store } = this.#options;
    const pod = store.pods.get(this.namespace, this.name);
    if (pod === undefined) throw new Error('the pod is gone');
    const { variables } = await computeEnvironment({
      pod,
      containerName: container.name,
      read: {
        configMap: (name) => Promise.resolve(store.configMaps.get(this.namespace, name)),
        secret: (name) => Promise.resolve(store.secrets.get(this.namespace, name)),
        services: (namespace) => Promise.resolve(store.services.list(namespace)),
      },
    });
    return Object.fromEntries(variables);
  }

  /** Writes the pod's status as it is now. */
  #write(message?: string): void {
    const { store, address } = this.#options;
    const pod = store.pods.get(this.namespace, this.name);
    if (pod === undefined || pod.metadata.uid !== this.uid) return;
    const running = this.#initialized && !isTerminating(pod);
    const containersReady = running && this.#over === undefined && [...this.#main, ...this.#sidecars].every(({ status }) => status.ready);
    const status: PodStatus = {
      ...pod.status,
      phase: this.#over ?? (this.#initialized ? 'Running' : 'Pending'),
      ...(message !== undefined && { message }),
      conditions: [
        condition(pod, 'PodScheduled', true),
        condition(pod, 'Initialized', this.#initialized),
        condition(pod, 'ContainersReady', containersReady),
        condition(pod, 'Ready', containersReady),
      ],
      hostIP: labAddresses.node,
      hostIPs: [{ ip: labAddresses.node }],
      podIP: address,
      podIPs: [{ ip: address }],
      containerStatuses: this.#main.map(({ status: one }) => one),
      initContainerStatuses: this.#init.map(({ status: one }) => one),
    };
    store.pods.put({ ...pod, status });
  }
}

const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function condition(pod: Pod, type: string, good: boolean): Condition {
  const status = good ? 'True' : 'False';
  const previous = pod.status.conditions.find((one) => one.type === type);
  if (previous?.status === status) return previous;
  return { type, status, lastTransitionTime: `${new Date().toISOString().slice(0, 19)}Z` };
}
