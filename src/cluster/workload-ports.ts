import { ExitCode, Failure } from '../platform/errors.ts';
import type { ContainerPort, Pod } from './pods.ts';
import type { Service } from './services.ts';
import { workloadLabel, type Workload } from './workload-lookup.ts';

/** What a port speaks, as claims name it. */
export type PortProtocol = 'tcp' | 'udp';

/** Where a remote port is in one pod. */
export interface PodPortNumber {
  readonly pod: Pod;
  /** The container port's number. */
  readonly port: number;
  readonly protocol: PortProtocol;
  /** False: no container of the pod says that it uses this port. It may all the same: warn, and go on. */
  readonly declared: boolean;
}

/** REMOTE's target in the pods: its protocol is undefined where a name alone decides. */
interface Target {
  readonly port: number | string;
  readonly protocol: PortProtocol | undefined;
}

/**
 * The container port that REMOTE means in each pod: its number or its name; for `service/NAME` the Service's port or port name,
 * mapped through targetPort. Without a protocol a number is TCP, and a name has the protocol that it is declared with. Failures:
 * PORT_INVALID (exit code 2) for what can be no port, PORT_NOT_FOUND for a name, or a Service's port, that is not there.
 */
export function resolvePort(workload: Workload, pods: readonly Pod[], remote: string, protocol?: PortProtocol): PodPortNumber[] {
  const port = parseRemote(remote);
  const wanted: Target = { port, protocol: protocol ?? (typeof port === 'number' ? 'tcp' : undefined) };
  const target = workload.type === 'service' ? servicePort(workload.object.spec, wanted, workload) : wanted;
  return pods.map((pod) => inPod(workload, pod, target));
}

/** The TCP and UDP ports that a pod's containers declare, those of lasting init containers too. */
export function declaredPorts(pod: Pick<Pod, 'spec'>): readonly ContainerPort[] {
  const lasting = pod.spec.initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...pod.spec.containers, ...lasting].flatMap(({ ports }) => ports).filter((port) => protocolOf(port) !== undefined);
}

/** Undefined for what is neither TCP nor UDP. */
export function protocolOf({ protocol }: { readonly protocol: string }): PortProtocol | undefined {
  return protocol === 'TCP' ? 'tcp' : protocol === 'UDP' ? 'udp' : undefined;
}

/** `8080 (http)`, `53/udp (dns)`. */
export function portLabel({ name, port, protocol }: { name?: string | undefined; port: number; protocol: string }): string {
  const number = protocolOf({ protocol }) === 'udp' ? `${port}/udp` : String(port);
  return name === undefined ? number : `${number} (${name})`;
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
function servicePort({ ports, clusterIP }: Service['spec'], wanted: Target, workload: Workload): Target {
  if (clusterIP === 'None' && typeof wanted.port === 'number') return wanted;
  const usable = ports.filter((port) => protocolOf(port) !== undefined);
  const found = usable.find(
    (port) =>
      (typeof wanted.port === 'number' ? port.port === wanted.port : port.name === wanted.port) &&
      (wanted.protocol === undefined || protocolOf(port) === wanted.protocol),
  );
  if (found === undefined) {
    throw notFound(
      `${workloadLabel(workload)} has no ${wordOf(wanted.protocol)}port ${wanted.port}`,
      usable.map(portLabel),
      'its ports are',
    );
  }
  return { port: found.targetPort ?? found.port, protocol: protocolOf(found) };
}

function inPod(workload: Workload, pod: Pod, { port: target, protocol }: Target): PodPortNumber {
  const declared = declaredPorts(pod);
  // A targetPort that is a number may be written as a string.
  const number = typeof target === 'number' ? target : /^\d+$/.test(target) ? Number(target) : undefined;
  if (number !== undefined) {
    const of = protocol ?? 'tcp';
    return {
      pod,
      port: number,
      protocol: of,
      declared: declared.some((port) => port.containerPort === number && protocolOf(port) === of),
    };
  }
  const named = declared.find((port) => port.name === target && (protocol === undefined || protocolOf(port) === protocol));
  const namedProtocol = named === undefined ? undefined : protocolOf(named);
  if (named !== undefined && namedProtocol !== undefined)
    return { pod, port: named.containerPort, protocol: namedProtocol, declared: true };
  throw notFound(
    `the pod ${pod.metadata.name} of ${workloadLabel(workload)} has no ${wordOf(protocol)}port named "${target}"`,
    declared.map((port) => portLabel({ ...port, port: port.containerPort })),
    'it declares',
  );
}

function wordOf(protocol: PortProtocol | undefined): string {
  return protocol === undefined ? '' : `${protocol.toUpperCase()} `;
}

function notFound(what: string, labels: readonly string[], introduction: string): Failure {
  return new Failure('PORT_NOT_FOUND', what, {
    likely: labels.length === 0 ? `${introduction} none` : `${introduction} ${labels.join(', ')}`,
    remedy: "give one of those, or a container port's number (with /udp for UDP)",
  });
}
