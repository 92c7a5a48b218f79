import { ports } from '../platform/ports.ts';
import type { Role } from './role.ts';
import { Sidecar, type SidecarOptions } from './sidecar.ts';

export interface EphemeralOptions extends Omit<SidecarOptions, 'inboundPort' | 'capture' | 'ownRules' | 'onSessionEnded'> {
  /** Without a laptop for so long, it ends. */
  readonly idleMilliseconds: number;
}

/**
 * `kpeering ephemeral`: a sidecar that has come to a running pod. No init container has made rules for it; it makes its own when something
 * is claimed, in a table that the kernel removes when we are no more. Unused it has none, and after a while it ends.
 */
export class Ephemeral implements Role {
  readonly finished: Promise<string>;
  readonly #finish: (why: string) => void;
  readonly #idle: number;
  #sidecar: Sidecar | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(idle: number) {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.finished = promise;
    this.#finish = resolve;
    this.#idle = idle;
  }

  static async start({ idleMilliseconds, ...options }: EphemeralOptions): Promise<Ephemeral> {
    const ephemeral = new Ephemeral(idleMilliseconds);
    ephemeral.#sidecar = await Sidecar.start({
      ...options,
      inboundPort: ports.inbound,
      ownRules: true,
      onSessionEnded: () => ephemeral.#wait(),
    });
    ephemeral.#wait();
    return ephemeral;
  }

  async drain(): Promise<void> {
    await this.#sidecar?.drain();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#sidecar?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** From now on, anew. Not while it is used: the last laptop's end begins it again, or the next look. */
  #wait(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#sidecar?.busy === true) this.#wait();
      else this.#finish(`nobody has used it for ${this.#idle / 1000} s`);
    }, this.#idle);
  }
}
