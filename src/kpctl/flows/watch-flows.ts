import { watch, type FSWatcher } from 'node:fs';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { askFlows, controlFolders, controlSockets } from './ask-flows.ts';
import { SeenFlows, type FlowEvent, type SeenFlow } from './seen-flows.ts';
import type { Carrier } from './seen-flows.ts';
import type { FindPrograms } from './programs/index.ts';

/** How long one kpctl may take for its whole list. */
const LIST_MILLISECONDS = 5_000;
/** How often is looked for other kpctl processes, where the system does not tell of a new one at once. */
const LOOK_MILLISECONDS = 500;

/** The flows of now. */
export interface ListedFlows {
  readonly flows: readonly SeenFlow[];
  /** The processes that have answered. */
  readonly carriers: readonly Carrier[];
  readonly unlisted: number;
}

/** Asks every kpctl once; one that does not answer is passed over. */
export async function listFlows(find: FindPrograms, options: AbortOptions): Promise<ListedFlows> {
  const seen = await Promise.all(
    controlSockets().map(async (path) => {
      const flows = new SeenFlows(find);
      try {
        const inTime = { signal: deadline(LIST_MILLISECONDS, options.signal) };
        for await (const line of askFlows(path, false, inTime)) flows.take(line);
      } catch {
        options.signal?.throwIfAborted();
      }
      await flows.settled();
      return flows;
    }),
  );
  return gathered(seen);
}

/** Follows every kpctl that runs or is started, until the signal aborts. `onChange` is called after what has changed was told by events. */
export class FlowsWatch {
  readonly #find: FindPrograms;
  readonly #onEvent: (event: FlowEvent) => void;
  readonly #following = new Map<string, SeenFlows>();

  constructor(find: FindPrograms, onEvent: (event: FlowEvent) => void) {
    this.#find = find;
    this.#onEvent = onEvent;
  }

  /** The flows of now. */
  get listed(): ListedFlows {
    return gathered([...this.#following.values()]);
  }

  /** Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const followers = new Set<Promise<void>>();
    using look = new Looks(signal);
    while (!signal.aborted) {
      for (const path of controlSockets()) {
        if (this.#following.has(path)) continue;
        const follower: Promise<void> = this.#follow(path, signal).finally(() => followers.delete(follower));
        followers.add(follower);
      }
      await look.next();
    }
    await Promise.all(followers);
  }

  /** Never rejects: a kpctl that has ended has no flows, and one that does not answer is asked again. */
  async #follow(path: string, signal: AbortSignal): Promise<void> {
    const flows = new SeenFlows(this.#find, this.#onEvent);
    this.#following.set(path, flows);
    let settling: NodeJS.Immediate | undefined;
    try {
      for await (const line of askFlows(path, true, { signal })) {
        flows.take(line);
        // At once, since programs may be gone in a moment; but for all lines of a read together.
        settling ??= setImmediate(() => {
          settling = undefined;
          void flows.settled();
        });
      }
    } catch {
      // it has ended, or nobody listens there
    }
    await flows.settled();
    if (!signal.aborted) flows.end();
    this.#following.delete(path);
  }
}

/** When to look for control sockets: one of a command that lives for a moment is to be seen, too. */
class Looks implements Disposable {
  readonly #watchers: readonly FSWatcher[];
  readonly #signal: AbortSignal;
  #wake: () => void = () => undefined;
  #changed = false;
  readonly #onChange = (): void => {
    this.#changed = true;
    this.#wake();
  };

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    this.#watchers = controlFolders().flatMap((folder) => {
      try {
        return [watch(folder, this.#onChange).on('error', () => undefined)];
      } catch {
        return []; // it is not there, or there are too many watches: then time tells
      }
    });
    signal.addEventListener('abort', this.#onChange, { once: true });
  }

  async next(): Promise<void> {
    if (this.#changed || this.#signal.aborted) return void (this.#changed = false);
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LOOK_MILLISECONDS);
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
    this.#changed = false;
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#onChange);
    for (const watcher of this.#watchers) watcher.close();
  }
}

function gathered(seen: readonly SeenFlows[]): ListedFlows {
  return {
    flows: seen.flatMap(({ flows }) => flows),
    carriers: seen.flatMap(({ carrier }) => (carrier === undefined ? [] : [carrier])),
    unlisted: seen.reduce((sum, { unlisted }) => sum + unlisted, 0),
  };
}
