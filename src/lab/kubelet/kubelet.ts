import type { Socket } from 'node:net';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { ApiError } from '../api/status.ts';
import { isTerminating } from '../controllers/pods.ts';
import { AddressPool } from '../network/addresses.ts';
import { connectInNetworkOf } from '../network/namespace-socket.ts';
import type { Store } from '../objects/store.ts';
import type { LabImages } from './images.ts';
import { PodRun } from './pod.ts';

export interface KubeletOptions {
  readonly store: Store;
  readonly images: LabImages;
  readonly directory: string;
  readonly cover: readonly string[];
  readonly backoffMilliseconds: number;
  readonly log: Logger;
}

/** Runs the pods that the store has, and ends those that are terminating. */
export class Kubelet implements Closeable {
  readonly #options: KubeletOptions;
  readonly #pods = new Map<string, PodRun>();
  // .0.1 is the node's.
  readonly #addresses = new AddressPool('10.244', 2);
  readonly #unsubscribe: () => void;
  #count = 0;
  #closed = false;

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#unsubscribe = options.store.pods.onChange(({ object, type }) => {
      if (type === 'ADDED') this.#start(object.metadata.namespace ?? '', object.metadata.name);
      else if (type === 'MODIFIED' && isTerminating(object)) this.#end(object.metadata.uid);
    });
  }

  /** The run of a pod by name, or undefined. */
  find(namespace: string, name: string): PodRun | undefined {
    const pod = this.#options.store.pods.get(namespace, name);
    return pod === undefined ? undefined : this.#pods.get(pod.metadata.uid);
  }

  /** A connection to a port of a pod's loopback. Throws an {@link ApiError} for a pod that does not run, else an Error with a `code`. */
  connect(namespace: string, name: string, port: number): Socket {
    const sandbox = this.find(namespace, name)?.sandbox;
    if (sandbox === undefined) throw new ApiError(500, 'InternalError', `unable to forward port because pod is not running: ${name}`);
    return connectInNetworkOf(sandbox.pid, port);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe();
    await Promise.all([...this.#pods.values()].map(async (pod) => await pod.end(0)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #start(namespace: string, name: string): void {
    const pod = this.#options.store.pods.get(namespace, name);
    if (pod === undefined || this.#closed) return;
    this.#count += 1;
    const run = new PodRun(pod, { ...this.#options, id: String(this.#count), address: this.#addresses.take() });
    this.#pods.set(pod.metadata.uid, run);
    run.start(pod);
  }

  #end(uid: string): void {
    const run = this.#pods.get(uid);
    if (run === undefined) return;
    const { store, log } = this.#options;
    const pod = store.pods.get(run.namespace, run.name);
    const grace = (pod?.spec.terminationGracePeriodSeconds ?? 30) * 1000;
    const address = pod?.status.podIP;
    this.#ended(run, uid, grace, address).catch((error: unknown) => log.error({ err: error, pod: run.name }, 'ending the pod'));
  }

  async #ended(run: PodRun, uid: string, grace: number, address: string | undefined): Promise<void> {
    await run.end(grace);
    const { pods } = this.#options.store;
    if (!this.#pods.delete(uid)) return;
    if (address !== undefined) this.#addresses.free(address);
    if (pods.get(run.namespace, run.name)?.metadata.uid === uid) pods.delete(run.namespace, run.name);
  }
}
