/**
 * The Pod Security Standards, as far as they concern containers like kpeering's: what would keep them out of a namespace that enforces a level
 * (kubernetes.io, Pod Security Standards; k8s.io/pod-security-admission/policy). kpeering's containers use nothing else that a level restricts.
 */

export type PodSecurityLevel = 'privileged' | 'baseline' | 'restricted';

const ENFORCE_LABEL = 'pod-security.kubernetes.io/enforce';

/** What a level looks at in a container. */
export interface SecuredContainer {
  readonly name: string;
  readonly securityContext: SecuritySettings;
}

export interface SecuritySettings {
  readonly runAsUser: number;
  readonly runAsNonRoot: boolean;
  readonly allowPrivilegeEscalation: boolean;
  readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
}

/** Capabilities that baseline lets containers add. */
const baselineCapabilities: ReadonlySet<string> = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);
const restrictedCapabilities: ReadonlySet<string> = new Set(['NET_BIND_SERVICE']);

/**
 * The level that a namespace enforces, by its labels. Without the label it is the API server's own default, which no client can ask for:
 * taken for `privileged`, as it is when nobody has configured another. A word that is no level is `restricted` to the API server.
 */
export function enforcedLevel(namespaceLabels: Readonly<Record<string, string>>): PodSecurityLevel {
  const level = namespaceLabels[ENFORCE_LABEL];
  if (level === undefined || level === 'privileged') return 'privileged';
  return level === 'baseline' ? 'baseline' : 'restricted';
}

/**
 * Why a level would not admit the containers: `kpeering-init adds NET_ADMIN`. Empty: it would. `seccompProfile` is the type of the
 * pod's profile.
 */
export function violations(
  level: PodSecurityLevel,
  containers: readonly SecuredContainer[],
  seccompProfile: string | undefined,
): readonly string[] {
  if (level === 'privileged') return [];
  const allowed = level === 'baseline' ? baselineCapabilities : restrictedCapabilities;
  const found = containers.flatMap(({ name, securityContext: { capabilities } }) => {
    const added = (capabilities.add ?? []).filter((capability) => !allowed.has(capability));
    return added.length === 0 ? [] : [`${name} adds ${added.join(' and ')}`];
  });
  if (level === 'baseline') return found;
  const confined = seccompProfile === 'RuntimeDefault' || seccompProfile === 'Localhost';
  return [...found, ...containers.flatMap((container) => unrestricted(container)), ...(confined ? [] : ['the pod has no seccomp profile'])];
}

function unrestricted({ name, securityContext }: SecuredContainer): readonly string[] {
  const { runAsUser, runAsNonRoot, allowPrivilegeEscalation, capabilities } = securityContext;
  return [
    ...(runAsUser === 0 || !runAsNonRoot ? [`${name} may run as root`] : []),
    ...(allowPrivilegeEscalation ? [`${name} allows privilege escalation`] : []),
    ...(capabilities.drop.includes('ALL') ? [] : [`${name} keeps capabilities`]),
  ];
}
