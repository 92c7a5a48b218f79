import { performance } from 'node:perf_hooks';

/** When a transport is asked for a sign of life, and when it is given up; milliseconds. */
export interface LivenessTimes {
  /** A PING is sent after this long without anything read, or without anything sent. */
  readonly silenceMilliseconds: number;
  /** The transport is dead after this long without anything read. */
  readonly deadMilliseconds: number;
}

/** ARCHITECTURE section 6. */
export const defaultLivenessTimes: LivenessTimes = { silenceMilliseconds: 2000, deadMilliseconds: 6000 };

/** What liveness needs done. */
export interface LivenessActions {
  ping(payload: Buffer): void;
  dead(error: Error): void;
}

/**
 * Watches over the silence of a transport. Both ends also ping after having *sent* nothing for a while: so the far end
 * hears from us although its own pings may wait behind megabytes in the buffers of a slow network.
 */
export class Liveness {
  readonly #times: LivenessTimes;
  readonly #actions: LivenessActions;
  readonly #period: number;
  #timer: NodeJS.Timeout | undefined;
  #lastHeard = performance.now();
  #lastSent = this.#lastHeard;
  #lastPing = this.#lastHeard;
  #lastTick = this.#lastHeard;
  #pings = 0n;

  constructor(times: LivenessTimes, actions: LivenessActions) {
    this.#times = times;
    this.#actions = actions;
    this.#period = Math.max(1, Math.min(times.silenceMilliseconds / 4, times.deadMilliseconds / 8));
  }

  /** `performance.now()` when bytes were last read. */
  get lastHeard(): number {
    return this.#lastHeard;
  }

  /** Any bytes count, not only whole frames: a frame of 64 KiB takes its time on a slow network. */
  heard(): void {
    this.#lastHeard = performance.now();
  }

  sent(): void {
    this.#lastSent = performance.now();
  }

  start(): void {
    this.#lastHeard = this.#lastSent = this.#lastPing = this.#lastTick = performance.now();
    this.#timer = setInterval(() => this.#tick(), this.#period);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const now = performance.now();
    // After a stop of this process (a debugger, a suspended laptop) what arrived meanwhile is read before we judge.
    const late = now - this.#lastTick > this.#period * 2 + 50;
    this.#lastTick = now;
    const silence = now - this.#lastHeard;
    if (silence >= this.#times.deadMilliseconds && !late) {
      this.#actions.dead(new Error(`nothing was heard from the far end for ${(silence / 1000).toFixed(1)} s`));
      return;
    }
    const quiet = Math.max(silence, now - this.#lastSent);
    if (quiet < this.#times.silenceMilliseconds || now - this.#lastPing < this.#times.silenceMilliseconds) return;
    this.#lastPing = now;
    this.#pings += 1n;
    const payload = Buffer.alloc(8);
    payload.writeBigUInt64BE(this.#pings);
    this.#actions.ping(payload);
  }
}
