import { Failure } from '../../platform/errors.ts';
import { isReservedPort, kpeeringGid } from '../../platform/ports.ts';
import { isOurs, lastingContainers, placedContainers, type AdmittedPod } from './admitted-pod.ts';
import { INJECT_LABEL, VOLUME_NAME } from './names.ts';
import { enforcedLevel, violations, type SecuredContainer } from './pod-security.ts';
import { ownPort } from './probes.ts';
import type { InjectionSettings, PodNamespace } from './settings.ts';

/** The annotation of the pods by which the API shows what a node runs from files of its own. */
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

type Check = (pod: AdmittedPod, namespace: PodNamespace, settings: InjectionSettings) => Failure | undefined;

const checks: readonly Check[] = [
  excludedNamespace,
  mirrorPod,
  windows,
  hostNetwork,
  alreadyInjected,
  volumeTaken,
  neverEnding,
  groupTaken,
  portTaken,
];

/** Throws the first reason why the pod cannot be injected, whatever its options: a Failure `INJECT_…`. */
export function refuse(pod: AdmittedPod, namespace: PodNamespace, settings: InjectionSettings): void {
  for (const check of checks) {
    const failure = check(pod, namespace, settings);
    if (failure !== undefined) throw failure;
  }
}

/**
 * Throws the first reason why a pod that runs cannot be captured, by whatever container: a Failure `INJECT_…`. Its node's network would be hit,
 * or the rules could not tell kpeering from the app.
 */
export function refuseCapture(pod: AdmittedPod): void {
  for (const check of [mirrorPod, windows, hostNetwork, groupTaken, portTaken]) {
    const failure = check(pod);
    if (failure !== undefined) throw failure;
  }
}

/** Throws a Failure `INJECT_POD_SECURITY` where the namespace's level would keep out a pod with these containers. */
export function refuseByPodSecurity(pod: AdmittedPod, namespace: PodNamespace, containers: readonly SecuredContainer[]): void {
  const level = enforcedLevel(namespace.labels);
  const found = violations(level, containers, pod.spec.securityContext?.seccompProfile?.type);
  if (found.length === 0) return;
  throw new Failure('INJECT_POD_SECURITY', `the namespace ${namespace.name} enforces the Pod Security level ${level}`, {
    likely: found.join(', '),
    remedy: 'use a namespace that enforces privileged, or the gateway: kpctl run without -w',
  });
}

function excludedNamespace(_: AdmittedPod, { name }: PodNamespace, { excludedNamespaces }: InjectionSettings): Failure | undefined {
  if (!excludedNamespaces.includes(name)) return undefined;
  return new Failure('INJECT_NAMESPACE', `pods of the namespace ${name} are never injected`, { remedy: 'use another namespace' });
}

function mirrorPod({ metadata }: AdmittedPod): Failure | undefined {
  if (metadata.annotations[MIRROR_ANNOTATION] === undefined) return undefined;
  return new Failure('INJECT_STATIC_POD', 'the pod is a static one, which its node runs whatever the API says', {
    remedy: 'run the app from a workload',
  });
}

function windows({ spec }: AdmittedPod): Failure | undefined {
  if (spec.os?.name !== 'windows' && spec.nodeSelector['kubernetes.io/os'] !== 'windows') return undefined;
  return new Failure('INJECT_WINDOWS', 'the pod is for Windows, and kpeering captures on Linux only', {
    remedy: 'use the gateway: kpctl run without -w',
  });
}

function hostNetwork({ spec }: AdmittedPod): Failure | undefined {
  if (spec.hostNetwork !== true) return undefined;
  return new Failure('INJECT_HOST_NETWORK', "the pod has hostNetwork: its node's traffic would be captured", {
    remedy: 'give it a network of its own, or use the gateway: kpctl run without -w',
  });
}

function alreadyInjected(pod: AdmittedPod): Failure | undefined {
  const found = placedContainers(pod).find(({ container }) => isOurs(container.name));
  if (found === undefined) return undefined;
  return new Failure('INJECT_ALREADY', `the pod has a container named ${found.container.name} already`, {
    likely: 'it was put there by hand, or it is kpeering itself',
    remedy: `take it out of the manifest, or set the pod's label ${INJECT_LABEL} to disabled`,
  });
}

function volumeTaken({ spec }: AdmittedPod): Failure | undefined {
  if (spec.volumes.every(({ name }) => name !== VOLUME_NAME)) return undefined;
  return new Failure('INJECT_VOLUME', `the pod has a volume named ${VOLUME_NAME} already`, { remedy: 'give that volume another name' });
}

function neverEnding({ spec: { restartPolicy } }: AdmittedPod, _: PodNamespace, settings: InjectionSettings): Failure | undefined {
  if (settings.nativeSidecars || restartPolicy === undefined || restartPolicy === 'Always') return undefined;
  return new Failure('INJECT_JOB', `the pod is to end by itself (restartPolicy ${restartPolicy}), and a sidecar would keep it from that`, {
    likely: 'the cluster has no native sidecars: they came with Kubernetes 1.29',
    remedy: 'use the gateway: kpctl run without -w',
  });
}

/** By its group the rules know what the sidecar sends. A supplementary group is not the one that a socket has. */
function groupTaken(pod: AdmittedPod): Failure | undefined {
  const found = placedContainers(pod).find(
    ({ container }) => (container.securityContext?.runAsGroup ?? pod.spec.securityContext?.runAsGroup) === kpeeringGid,
  );
  if (found === undefined) return undefined;
  return new Failure('INJECT_GROUP', `container ${found.container.name} runs as group ${kpeeringGid}, which is kpeering's own`, {
    remedy: 'let it run as another group (securityContext.runAsGroup)',
  });
}

function portTaken(pod: AdmittedPod): Failure | undefined {
  for (const { container } of lastingContainers(pod)) {
    const port = container.ports.find(({ containerPort }) => isReservedPort(containerPort));
    if (port !== undefined) return ownPort(`container ${container.name} declares port ${port.containerPort}`);
  }
  return undefined;
}
