import { limits } from './frames.ts';

/** The windows of a session's streams: each begins with `size` bytes, and they grow by `limits.windowGrowthBytes` at most, all together. */
export class ReceiveWindows {
  readonly size: number;
  #growth: number = limits.windowGrowthBytes;

  constructor(size: number) {
    this.size = size;
  }

  open(): ReceiveWindow {
    return new ReceiveWindow(this);
  }

  /** As much growth as there is, up to `wanted` bytes. */
  take(wanted: number): number {
    const taken = Math.min(wanted, this.#growth);
    this.#growth -= taken;
    return taken;
  }

  giveBack(bytes: number): void {
    this.#growth += bytes;
  }
}

/**
 * The credit that this end gives the far end of one stream. It begins small, because it is what a reader that stops costs us; where the
 * far end uses it up while our reader keeps pace, it is too small for the time that credit takes to come back (the product of bandwidth and delay), and doubles.
 */
export class ReceiveWindow {
  readonly #windows: ReceiveWindows;
  #size: number;
  /** Bytes that the far end may still send, or has on the way. */
  #outstanding: number;
  /** Bytes that were consumed and not given back yet. */
  #unreturned = 0;

  constructor(windows: ReceiveWindows) {
    this.#windows = windows;
    this.#size = windows.size;
    this.#outstanding = windows.size;
  }

  /** Bytes have arrived. Answers false when they are more than the far end was allowed. */
  received(bytes: number): boolean {
    this.#outstanding -= bytes;
    return this.#outstanding >= 0;
  }

  /** Bytes were passed on: answers the credit to return now, 0 for none yet. */
  consumed(bytes: number): number {
    this.#unreturned += bytes;
    // Half a window at once: few frames, and the sender does not run dry for as long as the other half lasts.
    if (this.#unreturned * 2 < this.#size) return 0;
    const returned = this.#unreturned;
    this.#unreturned = 0;
    this.#outstanding += returned;
    return returned;
  }

  /** The far end had no credit left when it sent what has just arrived: answers additional credit, 0 for none. */
  exhausted(): number {
    const held = this.#size - this.#outstanding - this.#unreturned;
    // It is our reader who is slow, and a larger window would only hold more for it.
    if (held * 2 >= this.#size) return 0;
    const growth = this.#windows.take(Math.min(this.#size, Math.max(0, limits.windowBytes - this.#size)));
    this.#size += growth;
    this.#outstanding += growth;
    return growth;
  }

  /** The stream has ended. */
  release(): void {
    this.#windows.giveBack(this.#size - this.#windows.size);
    this.#size = this.#windows.size;
  }
}
