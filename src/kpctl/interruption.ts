import { ExitCode } from '../platform/errors.ts';

/**
 * Ctrl-C and its kin (SIGINT, SIGTERM, SIGHUP). The first aborts `signal`, so that the command ends in good order;
 * a second one of them ends the process at once. Used by `main.ts`, which owns the process.
 */
export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #listener = (): void => {
    if (this.#controller.signal.aborted) process.exit(ExitCode.interrupted);
    this.#controller.abort(new Error('interrupted'));
  };
  static readonly #signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

  /** Begins to listen; a command that never asks is ended by Ctrl-C as any program. Aborts at the first interruption. */
  listen(): AbortSignal {
    for (const signal of Interruption.#signals) process.off(signal, this.#listener).on(signal, this.#listener);
    return this.#controller.signal;
  }

  /** As the first one does, where nobody is left to see what the command prints. */
  raise(why: string): void {
    this.#controller.abort(new Error(why));
  }

  /** Whether one has been heard. */
  get interrupted(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Hands the signals to `run`, which passes them on to its command. Answers the function that gives up listening. */
  handOver(listener: (signal: NodeJS.Signals) => void): () => void {
    for (const signal of Interruption.#signals) process.off(signal, this.#listener).on(signal, listener);
    process.on('SIGQUIT', listener);
    return () => {
      for (const signal of [...Interruption.#signals, 'SIGQUIT' as const]) process.off(signal, listener);
    };
  }

  [Symbol.dispose](): void {
    for (const signal of Interruption.#signals) process.off(signal, this.#listener);
  }
}
