import { contextNames } from '../../cluster/kubeconfig.ts';
import { namespaces, services } from '../../cluster/resources.ts';
import { connectCluster } from '../../cluster/connect.ts';
import type { Cluster } from '../../cluster/types.ts';
import { listWorkloads, protocolOf, type WorkloadSummary } from '../../cluster/workloads.ts';
import { runningInstances } from '../control/client.ts';
import type { Candidate } from './candidates.ts';
import type { GivenOptions } from './place.ts';

/** A shell waits for this at a press of Tab: what has not come by then is not offered. */
export const CLUSTER_MILLISECONDS = 3_000;

/** What completion asks the cluster for; `given` are the options typed before: -n, --context, --kubeconfig, --as. */
export class ClusterCandidates {
  readonly #given: GivenOptions;
  readonly #signal: AbortSignal;

  constructor(given: GivenOptions, signal: AbortSignal) {
    this.#given = given;
    this.#signal = signal;
  }

  async contexts(): Promise<Candidate[]> {
    return (await contextNames(this.#last('kubeconfig'))).map((value) => ({ value }));
  }

  async namespaces(): Promise<Candidate[]> {
    await using cluster = await this.#open();
    const items = await cluster.list(namespaces, { signal: this.#signal });
    return items.map(({ metadata }) => ({ value: metadata.name }));
  }

  async workloads(): Promise<Candidate[]> {
    return (await this.#workloads()).map((workload) => ({
      value: `${workload.type}/${workload.name}`,
      description: `${workload.ready}/${workload.desired} ready${workload.sidecar === 'none' ? '' : ', with a sidecar'}`,
    }));
  }

  /** Those that this user's running intercepts have. */
  async intercepted(): Promise<Candidate[]> {
    const instances = await runningInstances({ signal: this.#signal });
    return instances.flatMap(({ report: { workload } }) => (workload === undefined ? [] : [{ value: workload }]));
  }

  async containers(workload: string | undefined): Promise<Candidate[]> {
    const found = await this.#find(workload);
    return unique(found.flatMap(({ pods }) => pods.flatMap(({ spec }) => spec.containers.map(({ name }) => name)))).map((value) => ({
      value,
    }));
  }

  /** Names and numbers; `local` is what stands before the last colon. */
  async ports(workload: string | undefined, local: string): Promise<Candidate[]> {
    const found = await this.#find(workload);
    return found.flatMap(({ ports }) =>
      ports.flatMap(({ name, containerPort, protocol }) => {
        const suffix = protocolOf({ protocol }) === 'udp' ? '/udp' : '';
        const number = { value: `${local}${containerPort}${suffix}`, description: name ?? protocol };
        return name === undefined ? [number] : [{ value: `${local}${name}${suffix}`, description: `${containerPort}/${protocol}` }, number];
      }),
    );
  }

  /** `HOST:PORT` of the namespace's Services; `local` is what stands before. */
  async serviceAddresses(local: string): Promise<Candidate[]> {
    await using cluster = await this.#open();
    const items = await cluster.list(services, { namespace: cluster.namespace, signal: this.#signal });
    return items.flatMap(({ metadata, spec }) => (spec.ports ?? []).map(({ port }) => ({ value: `${local}${metadata.name}:${port}` })));
  }

  async #find(text: string | undefined): Promise<readonly WorkloadSummary[]> {
    const [type, name] = text?.includes('/') === true ? text.split('/', 2) : [undefined, text];
    return (await this.#workloads()).filter(
      (one) => name === undefined || (one.name === name && (type === undefined || one.type.startsWith(type))),
    );
  }

  async #workloads(): Promise<readonly WorkloadSummary[]> {
    await using cluster = await this.#open();
    return await listWorkloads(cluster, { namespace: cluster.namespace, signal: this.#signal });
  }

  async #open(): Promise<Cluster> {
    const [namespace, context, kubeconfig, as] = ['namespace', 'context', 'kubeconfig', 'as'].map((name) => this.#last(name));
    const asGroups = this.#given.get('as-group');
    return await connectCluster({
      ...(namespace !== undefined && { namespace }),
      ...(context !== undefined && { context }),
      ...(kubeconfig !== undefined && { kubeconfig }),
      ...(as !== undefined && { as }),
      ...(asGroups !== undefined && { asGroups: [...asGroups] }),
    });
  }

  #last(name: string): string | undefined {
    const value = this.#given.get(name)?.at(-1);
    // As the shell would have expanded it.
    return name === 'kubeconfig' ? value?.replace(/^~(?=\/)/, process.env['HOME'] ?? '~') : value;
  }
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}
