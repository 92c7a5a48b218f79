import { kpeeringGid, ports } from '../../platform/ports.ts';
import { INIT_NAME, RULES_FILE, SIDECAR_NAME, VOLUME_NAME, VOLUME_PATH } from './names.ts';
import type { CaptureMode, InjectionOptions, ResourceOptions } from './options.ts';
import type { SecuredContainer, SecuritySettings } from './pod-security.ts';
import { formatAliases, type Aliases } from './probes.ts';
import type { InjectionSettings } from './settings.ts';

/** What is captured in one pod. */
export interface Capture {
  /** Entries, or `*`. */
  readonly inboundPorts: readonly string[];
  readonly inboundUdpPorts: readonly string[];
  readonly aliases: Aliases;
}

/** A container as it is put into the pod. */
export interface InjectedContainer extends SecuredContainer {
  readonly securityContext: ContainerSecurity;
  readonly [field: string]: unknown;
}

interface ContainerSecurity extends SecuritySettings {
  readonly runAsGroup?: number;
  readonly readOnlyRootFilesystem: boolean;
}

export interface EnvironmentVariable {
  readonly name: string;
  readonly value: string;
}

/**
 * The folder by which the init container tells the sidecar what it has done: one small file. In memory, because the cluster autoscaler does not
 * move a pod that has a folder on its node's disk.
 */
export const volume = { name: VOLUME_NAME, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } } as const;

/** The variables of the init container (init-container/redirect.sh); only those that are not at their default. */
export function initEnvironment(options: InjectionOptions, capture: Capture): readonly EnvironmentVariable[] {
  return variables({
    KPEERING_MODE: options.mode === 'auto' ? '' : options.mode,
    KPEERING_INBOUND_PORTS: capture.inboundPorts.join(','),
    KPEERING_EXCLUDE_INBOUND_PORTS: options.excludeInboundPorts.join(','),
    KPEERING_INBOUND_UDP_PORTS: capture.inboundUdpPorts.join(','),
    KPEERING_OUTBOUND_PORTS: options.outboundPorts.join(','),
    KPEERING_EXCLUDE_OUTBOUND_PORTS: options.excludeOutboundPorts.join(','),
    KPEERING_OUTBOUND_CIDRS: options.outboundCidrs.join(','),
    KPEERING_EXCLUDE_OUTBOUND_CIDRS: options.excludeOutboundCidrs.join(','),
    KPEERING_DNS: options.dns ? '1' : '',
    KPEERING_KEEP_SOURCE: options.keepSource ? '1' : '',
    KPEERING_PROBE_ALIASES: formatAliases(capture.aliases),
    KPEERING_RULES_FILE: RULES_FILE,
  });
}

/** Makes the rules, and ends. As user 0, because another one has no capability that is only added; explicit, because a pod's own setting would count. */
export function initContainer(settings: InjectionSettings, options: InjectionOptions, capture: Capture): InjectedContainer {
  return {
    name: INIT_NAME,
    image: settings.images.init,
    imagePullPolicy: settings.pullPolicy,
    env: initEnvironment(options, capture),
    ...resourcesOf(options.resources),
    volumeMounts: [{ name: VOLUME_NAME, mountPath: VOLUME_PATH }],
    securityContext: {
      runAsUser: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
    },
  };
}

/**
 * The sidecar. It has no probe: a broken sidecar must not take a working app out of its Service (decision 0011). `gracePeriod`: the pod's
 * `terminationGracePeriodSeconds`.
 */
export function sidecarContainer(settings: InjectionSettings, options: InjectionOptions, gracePeriod?: number): InjectedContainer {
  return {
    name: SIDECAR_NAME,
    image: settings.images.sidecar,
    imagePullPolicy: settings.pullPolicy,
    ...(settings.nativeSidecars ? { restartPolicy: 'Always' } : {}),
    args: ['sidecar'],
    env: [
      { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
      ...variables({
        KPEERING_RULES_FILE: RULES_FILE,
        KPEERING_OUTBOUND: options.outbound ? '' : 'disabled',
        KPEERING_DRAIN_SECONDS: drainSeconds(gracePeriod),
        KPEERING_LOG: options.logLevel ?? '',
      }),
    ],
    ports: [{ name: 'kp-health', containerPort: ports.health }],
    ...resourcesOf(options.resources),
    volumeMounts: [{ name: VOLUME_NAME, mountPath: VOLUME_PATH, readOnly: true }],
    securityContext: sidecarSecurity(options.mode),
  };
}

/** Flows may go on until shortly before the kubelet kills what still runs. Kubernetes' 30 s have kpeering's own default, 25. */
function drainSeconds(gracePeriod = 30): string {
  if (gracePeriod === 30) return '';
  return String(gracePeriod > 10 ? gracePeriod - 5 : gracePeriod / 2);
}

/** In redirect mode it needs nothing. Transparent listeners need NET_RAW, and `auto` may come to tproxy on the node. */
function sidecarSecurity(mode: CaptureMode): ContainerSecurity {
  const confined = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true };
  if (mode === 'redirect') {
    return { runAsUser: kpeeringGid, runAsGroup: kpeeringGid, runAsNonRoot: true, ...confined, capabilities: { drop: ['ALL'] } };
  }
  return {
    runAsUser: 0,
    runAsGroup: kpeeringGid,
    runAsNonRoot: false,
    ...confined,
    capabilities: { drop: ['ALL'], add: ['NET_RAW'] },
  };
}

function resourcesOf({ cpuRequest, cpuLimit, memoryRequest, memoryLimit }: ResourceOptions): { readonly resources?: object } {
  const requests = amounts(cpuRequest, memoryRequest);
  const limits = amounts(cpuLimit, memoryLimit);
  if (requests === undefined && limits === undefined) return {};
  return { resources: { ...(requests === undefined ? {} : { requests }), ...(limits === undefined ? {} : { limits }) } };
}

function amounts(cpu: string | undefined, memory: string | undefined): object | undefined {
  if (cpu === undefined && memory === undefined) return undefined;
  return { ...(cpu === undefined ? {} : { cpu }), ...(memory === undefined ? {} : { memory }) };
}

/** Those that are not empty. */
function variables(values: Readonly<Record<string, string>>): readonly EnvironmentVariable[] {
  return Object.entries(values).flatMap(([name, value]) => (value === '' ? [] : [{ name, value }]));
}
