import { ExitCode, Failure } from '../platform/errors.ts';
import type { ContainerPort, Pod } from './pods.ts';
import type { Service } from './services.ts';
import { workloadLabel, type Workload } from './workload-lookup.ts';

/** Where a remote port is in one pod. */
export interface PodPortNumber {
  readonly pod: Pod;
  /** The container port's number. */
  readonly port: number;
  /** False: no container of the pod says that it uses this port. It may all the same: warn, and go on. */
  readonly declared: boolean;
}

/**
 * The container port that REMOTE means in each pod: its number or its name; for `service/NAME` the Service's port or port name,
 * mapped through targetPort. Only TCP. Failures: PORT_INVALID (exit code 2) for what can be no port, PORT_NOT_FOUND for a
 * name, or a Service's port, that is not there.
 */
export function resolvePort(workload: Workload, pods: readonly Pod[], remote: string): PodPortNumber[] {
  const wanted = parseRemote(remote);
  const target = workload.type === 'service' ? servicePort(workload.object.spec, wanted, workload) : wanted;
  return pods.map((pod) => inPod(workload, pod, target));
}

/** The TCP ports that a pod's containers declare, those of lasting init containers too. */
export function declaredPorts(pod: Pick<Pod, 'spec'>): readonly ContainerPort[] {
  const lasting = pod.spec.initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...pod.spec.containers, ...lasting].flatMap(({ ports }) => ports).filter(({ protocol }) => protocol === 'TCP');
}

function parseRemote(remote: string): number | string {
  if (/^\d+$/.test(remote)) {
    const number = Number(remote);
    if (number >= 1 && number <= 65_535) return number;
    throw invalid(`the port ${remote} is not between 1 and 65535`);
  }
  // Container ports have IANA service names, Services' ports DNS labels: the second are the wider.
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(remote)) return remote;
  throw invalid(`"${remote}" is neither a port's number nor a port's name`);
}

function invalid(what: string): Failure {
  return new Failure('PORT_INVALID', what, {
    remedy: 'give a number, or the name of a declared port in lower case',
    exitCode: ExitCode.usage,
  });
}

/** The target port of a Service's port. Nothing maps a headless Service's ports: there a number is the pods' own, as for kubectl. */
function servicePort({ ports, clusterIP }: Service['spec'], wanted: number | string, workload: Workload): number | string {
  if (clusterIP === 'None' && typeof wanted === 'number') return wanted;
  const tcp = ports.filter(({ protocol }) => protocol === 'TCP');
  const found = tcp.find(({ name, port }) => (typeof wanted === 'number' ? port === wanted : name === wanted));
  if (found === undefined) {
    throw notFound(
      `${workloadLabel(workload)} has no TCP port ${wanted}`,
      tcp.map(({ name, port }) => portLabel(name, port)),
      'its ports are',
    );
  }
  return found.targetPort ?? found.port;
}

function inPod(workload: Workload, pod: Pod, target: number | string): PodPortNumber {
  const declared = declaredPorts(pod);
  // A targetPort that is a number may be written as a string.
  const number = typeof target === 'number' ? target : /^\d+$/.test(target) ? Number(target) : undefined;
  if (number !== undefined) {
    return { pod, port: number, declared: declared.some(({ containerPort }) => containerPort === number) };
  }
  const named = declared.find(({ name }) => name === target);
  if (named !== undefined) return { pod, port: named.containerPort, declared: true };
  const labels = declared.map(({ name, containerPort }) => portLabel(name, containerPort));
  throw notFound(`the pod ${pod.metadata.name} of ${workloadLabel(workload)} has no TCP port named "${target}"`, labels, 'it declares');
}

function portLabel(name: string | undefined, port: number): string {
  return name === undefined ? String(port) : `${port} (${name})`;
}

function notFound(what: string, labels: readonly string[], introduction: string): Failure {
  return new Failure('PORT_NOT_FOUND', what, {
    likely: labels.length === 0 ? `${introduction} none` : `${introduction} ${labels.join(', ')}`,
    remedy: "give one of those, or a container port's number",
  });
}
