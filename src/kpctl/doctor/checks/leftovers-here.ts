import { existsSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { AbortOptions } from '../../../platform/abort.ts';
import { systemCode } from '../../../platform/errors.ts';
import { runtimeDirectory } from '../../../platform/runtime-directory.ts';
import type { Examination } from '../examination.ts';
import { note, ok, type Seen } from '../finding.ts';
import type { Check } from '../run-checks.ts';

/** What kpctl processes that were killed have left on this machine: sockets on which nobody listens, folders of a demo. */
export function leftoversHereCheck(directory: () => string = runtimeDirectory): Check<Examination> {
  return {
    id: 'left-here',
    look: async (_, options) => await look(directory(), options),
  };
}

async function look(directory: string, options: Required<AbortOptions>): Promise<readonly Seen[]> {
  const names = readdirSync(directory);
  const sockets = names.filter((name) => name.endsWith('.sock'));
  const dead = (await Promise.all(sockets.map(async (name) => ((await refuses(join(directory, name), options)) ? [name] : [])))).flat();
  const folders =
    existsSync(join(directory, 'demo.sock')) && !dead.includes('demo.sock') ? [] : names.filter((name) => name.startsWith('demo-'));
  const seen = [
    ...(dead.length > 0
      ? [note(`${directory}: ${count(dead.length, 'socket')} of kpctl processes that were killed`, 'kpctl status removes them')]
      : []),
    ...(folders.length > 0
      ? [note(`${directory}: ${count(folders.length, 'folder')} of a demo that was killed`, 'the next kpctl demo removes them')]
      : []),
  ];
  const running = sockets.length - dead.length;
  return seen.length > 0
    ? seen
    : [ok(`nothing is left over on this machine${running === 0 ? '' : `; ${running} kpctl of yours ${running === 1 ? 'runs' : 'run'}`}`)];
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

/** Whether nobody listens on a UNIX socket. */
async function refuses(path: string, { signal }: Required<AbortOptions>): Promise<boolean> {
  const socket = connect(path);
  const onAbort = (): void => void socket.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await new Promise<boolean>((resolve) => {
      socket
        .on('connect', () => resolve(false))
        .on('error', (error) => resolve(systemCode(error) === 'ECONNREFUSED'))
        .on('close', () => resolve(false));
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
  }
}
