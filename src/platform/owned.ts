/** What holds something: a listener, a process, a watch, a file. */
export interface Closeable extends AsyncDisposable {
  /** Graceful where there is something to wait for; a second call answers with the first one's promise. */
  close(): Promise<void>;
}

/**
 * Things to be closed in the opposite order of their making, when the last needed step has ended or failed. One that is
 * made after that (a step that ran beside the one that failed) is closed at once. (Node 22 has no AsyncDisposableStack.)
 */
export class OwnedStack implements Closeable {
  readonly #owned: AsyncDisposable[] = [];
  #closing: Promise<void> | undefined;

  use<T extends AsyncDisposable>(resource: T): T {
    if (this.#closing === undefined) this.#owned.push(resource);
    else this.#closing = this.#closing.then(async () => await resource[Symbol.asyncDispose]());
    return resource;
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#closeAll());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Every one is closed, also when another's closing fails; then the first failure is thrown. */
  async #closeAll(): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    for (const resource of this.#owned.toReversed()) {
      try {
        await resource[Symbol.asyncDispose]();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }
}
