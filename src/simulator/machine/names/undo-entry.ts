import type { Logger } from '../../../platform/log.ts';
import { networkManagerKey, undoProfile, type Profile } from './network-manager.ts';
import { forgetNameCaches } from './name-caches.ts';
import { undoReplacement, type Original, type Replacement } from './replaced-file.ts';
import { resolvConfKey } from './resolv-conf.ts';
import type { OwnNames } from './types.ts';

/**
 * Undoes what one entry of the journal says was changed, or was about to be; for an `up` that was killed, also before the machine's last start.
 * Answers what was done, as sentences for the user. What others have changed since stays. Rejects when it cannot be undone now: the entry is to stay.
 */
export async function undoNamesEntry(key: string, value: unknown, log: Logger): Promise<readonly string[]> {
  const said = await undo(key, value);
  await forgetNameCaches();
  log.debug({ key, said }, 'a change of the names is undone');
  return said === undefined ? [] : [said];
}

async function undo(key: string, value: unknown): Promise<string | undefined> {
  if (key === resolvConfKey) {
    const replacement = asReplacement(value);
    if (replacement !== undefined) return undoReplacement(replacement);
  }
  if (key === networkManagerKey) {
    const profile = asProfile(value);
    if (profile !== undefined) return undoProfile(profile);
  }
  throw new Error(`${key}: written by another version of kpctl`);
}

function get(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined;
}

function asStrings(value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string') ? value : undefined;
}

function asReplacement(value: unknown): Replacement | undefined {
  const [path, how, lines] = [get(value, 'path'), get(value, 'how'), get(value, 'lines')];
  const [original, texts] = [asOriginal(get(value, 'original')), asStrings(get(value, 'texts'))];
  const [nameservers, search, ndots] = [asStrings(get(lines, 'nameservers')), asStrings(get(lines, 'search')), get(lines, 'ndots')];
  if (typeof path !== 'string' || (how !== 'replace' && how !== 'in-place') || original === undefined || texts === undefined)
    return undefined;
  if (nameservers === undefined || search === undefined || typeof ndots !== 'number') return undefined;
  return { path, how, original, texts, lines: { nameservers, search, ndots } };
}

function asOriginal(value: unknown): Original | undefined {
  const kind = get(value, 'kind');
  if (kind === 'absent') return { kind };
  const target = get(value, 'target');
  if (kind === 'link' && typeof target === 'string') return { kind, target };
  const [bytes, mode, uid, gid] = [get(value, 'bytes'), get(value, 'mode'), get(value, 'uid'), get(value, 'gid')];
  if (kind !== 'file' || typeof bytes !== 'string') return undefined;
  if (typeof mode !== 'number' || typeof uid !== 'number' || typeof gid !== 'number') return undefined;
  return { kind, bytes, mode, uid, gid };
}

function asProfile(value: unknown): Profile | undefined {
  const [uuid, boot, nameserver, own] = [get(value, 'uuid'), get(value, 'boot'), get(value, 'nameserver'), get(value, 'own')];
  if (typeof uuid !== 'string' || typeof boot !== 'string' || typeof nameserver !== 'string') return undefined;
  return { uuid, boot, nameserver, own: asOwn(own) };
}

function asOwn(value: unknown): OwnNames {
  const servers = get(value, 'servers');
  const addresses = Array.isArray(servers) ? servers.map((server: unknown) => get(server, 'address')) : [];
  return {
    servers: addresses.filter((address) => typeof address === 'string').map((address) => ({ address, port: 53 })),
    search: asStrings(get(value, 'search')) ?? [],
  };
}
