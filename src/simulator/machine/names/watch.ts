import { watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Closeable } from '../../../platform/owned.ts';

/** Who writes a file may do it in several steps. */
const settling = 50;

/** What inotify does not tell (a folder that was replaced, a file on a network) is seen after this, in milliseconds. */
const interval = 4000;

export interface ChangesOptions {
  readonly files: readonly string[];
  /** Looks what has changed, if anything. Never called twice at a time; what it throws goes to `onError`. */
  readonly check: () => void | Promise<void>;
  readonly onError: (error: unknown) => void;
}

/** Calls `check` soon after one of the files was changed, replaced, made or removed, and every four seconds. */
export function watchChanges({ files, check, onError }: ChangesOptions): Closeable {
  const stopping = new AbortController();
  const watchers = new Map<string, FSWatcher>();
  let again = false;
  let running: Promise<void> | undefined;

  const wake = (): void => {
    again = true;
    running ??= work().finally(() => {
      running = undefined;
      if (again && !stopping.signal.aborted) wake();
    });
  };
  const timer = setInterval(() => {
    open();
    wake();
  }, interval).unref();

  async function work(): Promise<void> {
    try {
      await delay(settling, undefined, { signal: stopping.signal, ref: false });
    } catch {
      return;
    }
    again = false;
    try {
      await check();
    } catch (error) {
      onError(error);
    }
  }

  /** The folders that are there; one that is missing may come. */
  function open(): void {
    for (const folder of new Set(files.map((file) => dirname(file)))) {
      if (watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, (_, name) => {
          if (name === null || files.some((file) => dirname(file) === folder && basename(file) === name)) wake();
        });
        watchers.set(folder, watcher);
        watcher.on('error', () => {
          watcher.close();
          watchers.delete(folder);
        });
      } catch {
        // Missing, or no inotify left: then only the clock tells.
      }
    }
  }

  async function close(): Promise<void> {
    clearInterval(timer);
    for (const watcher of watchers.values()) watcher.close();
    stopping.abort();
    await running;
  }
  let closing: Promise<void> | undefined;

  open();
  return { close: () => (closing ??= close()), [Symbol.asyncDispose]: () => (closing ??= close()) };
}
