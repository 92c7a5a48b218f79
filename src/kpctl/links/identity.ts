import { hostname, userInfo } from 'node:os';
import type { Cluster } from '../../cluster/types.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { version } from '../../platform/version.ts';
import { newSessionId, type LocalHello } from '../../tunnel/index.ts';

/**
 * How this `kpctl` introduces itself to pods: `user@host` of the laptop, and the API server's name of the user where
 * it can be asked (within 3 s: an old cluster has no SelfSubjectReview). One session id for the life of the process.
 */
export async function laptopHello(cluster: Cluster, options: AbortOptions = {}): Promise<LocalHello> {
  const user = await cluster.whoAmI({ signal: deadline(3_000, options.signal) }).catch(() => undefined);
  options.signal?.throwIfAborted();
  const name = `${localUser()}@${hostname()}`;
  return { id: newSessionId(), role: 'laptop', software: version, name, ...(user !== undefined && { user }) };
}

/** The local user's name; a uid without a passwd entry is written as `uid-1234`. */
function localUser(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid-${process.getuid?.() ?? 0}`;
  }
}
