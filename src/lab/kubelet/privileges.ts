import { readFileSync } from 'node:fs';
import { requireProgram } from '../../platform/programs.ts';
import type { Container, Pod } from '../objects/schemas.ts';

/** What containerd gives a container that asks for nothing (containerd, pkg/oci, defaultUnixCaps). */
const defaultCapabilities = [
  'audit_write',
  'chown',
  'dac_override',
  'fowner',
  'fsetid',
  'kill',
  'mknod',
  'net_bind_service',
  'net_raw',
  'setfcap',
  'setgid',
  'setpcap',
  'setuid',
  'sys_chroot',
];

/**
 * What is put before a container's program to give it the user, the group and the capabilities of its securityContext (and the pod's), by
 * setpriv(1). A container that says nothing of capabilities has all of the lab's. Files of images are files of this machine here, which may
 * be its developer's alone: every container may read them.
 *
 * Where the lab has a single user id (it was started by an ordinary user) nothing can be taken on, and nothing is.
 * Throws an Error for what the kubelet would refuse.
 */
export function privilegePrefix(pod: Pod, container: Container): readonly string[] {
  const context = { ...pod.spec.securityContext, ...container.securityContext };
  const { runAsUser, runAsGroup, capabilities, allowPrivilegeEscalation } = context;
  if (context.runAsNonRoot === true && (runAsUser ?? 0) === 0) throw new Error('container has runAsNonRoot and would run as root');
  if (!mapped('uid', runAsUser ?? 0) || !mapped('gid', runAsGroup ?? 0) || !mapped('gid', 1)) return [];
  const flags = [
    ...(runAsUser === undefined && runAsGroup === undefined
      ? []
      : [`--reuid=${runAsUser ?? 0}`, `--regid=${runAsGroup ?? 0}`, '--clear-groups']),
    ...(capabilities === undefined ? [] : [`--bounding-set=${capabilityList([...boundingSet(capabilities), 'dac_read_search'])}`]),
    ...(capabilities === undefined && runAsUser === undefined ? [] : readingAnyFile),
    ...(allowPrivilegeEscalation === false ? ['--no-new-privs'] : []),
  ];
  return flags.length === 0 ? [] : [requireProgram('setpriv', 'util-linux'), ...flags, '--'];
}

const readingAnyFile = [`--inh-caps=${capabilityList(['dac_read_search'])}`, `--ambient-caps=${capabilityList(['dac_read_search'])}`];

function boundingSet({ add, drop }: { readonly add: readonly string[]; readonly drop: readonly string[] }): readonly string[] {
  const plain = (name: string): string => name.toLowerCase().replace(/^cap_/u, '');
  const dropped = new Set(drop.map(plain));
  const kept = dropped.has('all') ? [] : defaultCapabilities.filter((name) => !dropped.has(name));
  return [...new Set([...kept, ...add.map(plain)])];
}

function capabilityList(names: readonly string[]): string {
  return ['-all', ...names.map((name) => `+${name}`)].join(',');
}

/** Whether this user namespace has that id (user_namespaces(7): first id inside, first outside, how many). */
function mapped(kind: 'uid' | 'gid', id: number): boolean {
  return readFileSync(`/proc/self/${kind}_map`, 'latin1')
    .trim()
    .split('\n')
    .some((line) => {
      const [first = 0, , count = 0] = line.trim().split(/\s+/u).map(Number);
      return id >= first && id < first + count;
    });
}
