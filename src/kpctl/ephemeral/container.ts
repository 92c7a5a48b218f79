import { kpeeringGid } from '../../platform/ports.ts';
import type { InjectedContainer } from '../../operator/injection/containers.ts';

/** An image, and when the node fetches it. */
export interface EphemeralImage {
  readonly image: string;
  readonly pullPolicy: 'Always' | 'IfNotPresent' | 'Never';
}

/** How long it stays when nobody uses it. It can be started again only as a new entry. */
export const IDLE_SECONDS = 3600;

/**
 * kpeering in a pod that runs. NET_ADMIN makes the rules, NET_RAW opens transparent listeners, and only user 0 has what is merely added; by the
 * group the rules know what it sends. Such a container has neither ports nor resources nor probes of its own.
 */
export function ephemeralContainer(name: string, { image, pullPolicy }: EphemeralImage): InjectedContainer {
  return {
    name,
    image,
    imagePullPolicy: pullPolicy,
    args: ['ephemeral', '--idle-seconds', String(IDLE_SECONDS)],
    env: [
      { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
    ],
    securityContext: {
      runAsUser: 0,
      runAsGroup: kpeeringGid,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
    },
  };
}
