import type { Terminal } from './terminal.ts';

/** What takes less than this is not worth a line. */
const PATIENCE_MILLISECONDS = 1_000;

/**
 * Says what is waited for when that takes longer than a second. On a terminal: one line, overwritten, with the seconds so far. Elsewhere: a
 * line each time that the text has changed, at most one a second. On stderr, so that it does not mix with `-o json`.
 *
 *     using progress = new Progress(terminal, 'waiting for deployment/web');
 *     progress.update('waiting for deployment/web: 1 of 2 pods are ready');
 *     progress.done('deployment/web is ready');
 *
 * One at a time. Whatever is printed by the same terminal meanwhile goes above it.
 */
export class Progress implements Disposable {
  readonly #terminal: Pick<Terminal, 'progress' | 'live'>;
  readonly #since = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #text: string;
  #printed: string | undefined;
  #shown = false;

  constructor(terminal: Pick<Terminal, 'progress' | 'live'>, text: string, everyMilliseconds = PATIENCE_MILLISECONDS) {
    this.#terminal = terminal;
    this.#text = text;
    this.#timer = setInterval(() => this.#show(), everyMilliseconds).unref();
  }

  /** What is waited for now. */
  update(text: string): void {
    if (this.#timer === undefined || text === this.#text) return;
    this.#text = text;
    if (this.#shown && this.#terminal.live !== undefined) this.#show();
  }

  /** Takes the line away; `text`, where there is one, stays, as a line of progress. */
  done(text?: string): void {
    this[Symbol.dispose]();
    if (text !== undefined) this.#terminal.progress(text);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#shown) this.#terminal.live?.(undefined);
    this.#shown = false;
  }

  #show(): void {
    this.#shown = true;
    if (this.#terminal.live !== undefined) {
      this.#terminal.live(`${this.#text} … ${Math.round((performance.now() - this.#since) / 1000)} s`);
    } else if (this.#printed !== this.#text) {
      this.#printed = this.#text;
      this.#terminal.progress(this.#text);
    }
  }
}

/** Says on a terminal what is waited for while `work` takes its time. Elsewhere nothing: it is for what seldom takes a second. */
export async function during<T>(terminal: Pick<Terminal, 'progress' | 'live'>, text: string, work: () => Promise<T>): Promise<T> {
  using _progress = terminal.live === undefined ? undefined : new Progress(terminal, text);
  return await work();
}
