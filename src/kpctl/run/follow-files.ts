import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { ChangedVolume, ContainerFiles } from './container-files.ts';

export interface FollowFilesOptions {
  readonly files: Pick<ContainerFiles, 'changes'>;
  readonly update: (volume: ChangedVolume) => void;
  readonly warn: (line: string) => void;
  readonly log: Logger;
  /** Between two looks. A kubelet needs up to a minute and more. */
  readonly milliseconds?: number;
}

/** Keeps mounted volumes as they are in the cluster, and tokens valid, until it is closed. */
export function followFiles({ files, update, warn, log, milliseconds = 10_000 }: FollowFilesOptions): Closeable {
  const closing = new AbortController();
  const abort = { signal: closing.signal };
  const follow = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      try {
        await delay(milliseconds, undefined, abort);
        for (const volume of await files.changes(warn, abort)) update(volume);
      } catch (error) {
        // The files stay as they are; what a sleeping network keeps away comes with a later look.
        if (!closing.signal.aborted) log.debug({ err: messageOf(error) }, 'the files could not be read again');
      }
    }
  };
  const following = follow();
  const close = async (): Promise<void> => {
    closing.abort();
    await following;
  };
  return { close, [Symbol.asyncDispose]: close };
}
