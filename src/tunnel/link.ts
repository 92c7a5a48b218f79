import type { Duplex } from 'node:stream';
import { ProtocolError } from './errors.ts';
import { FrameBatch } from './frame-batch.ts';
import { FrameDecoder } from './frame-decoder.ts';
import { FrameType, HEADER_BYTES, limits } from './frames.ts';
import { Liveness, type LivenessTimes } from './liveness.ts';
import { decodeGoodbye, encodeGoodbye, type GoodbyeCode } from './goodbye.ts';
import { countRead } from './read-garbage.ts';
import type { SessionEnd } from './types.ts';

/** How long each end waits for the other's goodbye before it closes the transport. */
const GOODBYE_MILLISECONDS = 1000;
/** A write to the transport is made of about this much at most, so that control frames do not wait behind more. */
const BATCH_BYTES = 256 * 1024;

/** What a link carries frames for: the session. */
export interface LinkOwner {
  /** A piece of DATA (see FrameReceiver). May throw ProtocolError. */
  data(stream: number, slice: Buffer, flags: number): void;
  /** Another frame of the session. May throw ProtocolError. */
  frame(type: number, stream: number, payload: Buffer): void;
  /** One UDP datagram. May throw ProtocolError. */
  datagram(association: number, payload: Buffer): void;
  /** The transport takes more: put one DATA frame of the stream whose turn it is into the batch, or answer false. */
  writeNext(batch: FrameBatch): boolean;
  /** All that was ready has been handed to the transport, which is not congested. */
  writable(): void;
  /** Called once. Nothing is received any more. */
  linkEnded(end: SessionEnd): void;
}

/**
 * Frames over one duplex: cuts what is read into frames, and gathers what is sent into one write for each turn of the
 * event loop, control frames first. Keeps the transport alive with pings and notices when it is dead. Knows nothing of
 * streams: what is to be sent again after a loss belongs between here and the session.
 *
 * The duplex is never half-closed: containerd ends a port-forward one second later (ARCHITECTURE section 6).
 */
export class Link {
  readonly #duplex: Duplex;
  readonly #owner: LinkOwner;
  readonly #liveness: Liveness;
  readonly #decoder: FrameDecoder;
  readonly #batch = new FrameBatch();
  readonly #closed: Promise<void>;
  #state: 'open' | 'saying-goodbye' | 'ended' = 'open';
  #congested = false;
  /** Of the batch: what is in it of datagrams. */
  #datagramBytes = 0;
  #scheduled: NodeJS.Immediate | undefined;
  #goodbyeTimer: NodeJS.Timeout | undefined;

  constructor(duplex: Duplex, owner: LinkOwner, times: LivenessTimes) {
    this.#duplex = duplex;
    this.#owner = owner;
    this.#decoder = new FrameDecoder({
      data: (stream, slice, flags) => this.#data(stream, slice, flags),
      frame: (type, _flags, stream, payload) => this.#frame(type, stream, payload),
    });
    this.#liveness = new Liveness(times, {
      ping: (payload) => this.send(FrameType.ping, 0, payload),
      dead: (error) => this.abort(error),
    });
    this.#closed = new Promise((resolve) => {
      if (duplex.closed) resolve();
      else duplex.once('close', resolve);
    });
  }

  /** `performance.now()` when bytes were last read. */
  get lastHeard(): number {
    return this.#liveness.lastHeard;
  }

  /** The transport has not yet taken what it was given. */
  get congested(): boolean {
    return this.#congested;
  }

  /** Begins to read; `rest` was read already, behind the HELLO. */
  start(rest: Buffer): void {
    const duplex = this.#duplex;
    duplex.on('data', (chunk: Buffer) => this.#received(chunk));
    duplex.on('drain', () => this.#flush());
    duplex.on('end', () => this.abort(new Error('the transport was closed by the far end')));
    duplex.on('error', (error) => this.abort(error));
    duplex.on('close', () => this.abort(duplex.errored ?? new Error('the transport was closed')));
    this.#liveness.start();
    if (duplex.destroyed) this.abort(duplex.errored ?? new Error('the transport was closed'));
    // Not at once: whoever made the session has it in hand before its handlers are called.
    setImmediate(() => {
      if (rest.length > 0 && this.#state !== 'ended') this.#received(rest);
      if (this.#state !== 'ended') duplex.resume();
    });
  }

  /** Queues a control frame: it overtakes all data that the transport has not been given yet. */
  send(type: number, stream: number, payload: Buffer): void {
    if (this.#state !== 'open') return;
    this.#batch.header(type, 0, stream, payload.length);
    this.#batch.append(payload);
    if (this.#batch.bytes > limits.controlBacklogBytes) {
      this.abort(new ProtocolError('the far end makes us answer more than it reads'));
      return;
    }
    this.schedule();
  }

  /**
   * Puts a datagram behind the control frames and before all data that the transport has not been given yet. Answers false when it was
   * dropped: those that wait already, because the transport is slow, are as many as may wait.
   */
  sendDatagram(association: number, payload: Buffer): boolean {
    if (this.#state !== 'open') return false;
    const bytes = HEADER_BYTES + payload.length;
    // A burst: what the transport takes at once need not be dropped.
    if (this.#datagramBytes + bytes > limits.datagramBacklogBytes && !this.#congested) this.#flush();
    if (this.#datagramBytes + bytes > limits.datagramBacklogBytes) return false;
    this.#batch.header(FrameType.datagram, 0, association, payload.length);
    this.#batch.append(payload);
    this.#datagramBytes += bytes;
    this.schedule();
    return true;
  }

  /** There is something to write: it is written after the reads of this turn of the event loop. */
  schedule(): void {
    if (this.#scheduled !== undefined || this.#congested || this.#state !== 'open') return;
    this.#scheduled = setImmediate(() => {
      this.#scheduled = undefined;
      this.#flush();
    });
  }

  /** Says goodbye, waits at most a second for the far end's, and closes the transport. */
  async close(): Promise<void> {
    this.#sayGoodbye('closed', '', { kind: 'closed' });
    await this.#closed;
  }

  /** Drops the transport at once. */
  abort(cause: Error): void {
    if (this.#state === 'ended') return;
    if (this.#state === 'open') this.#end({ kind: 'lost', cause, lastHeard: this.lastHeard });
    this.#destroy();
  }

  #received(chunk: Buffer): void {
    this.#liveness.heard();
    countRead(chunk.length);
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#decoder.stop();
      this.#sayGoodbye('protocol', error.message, { kind: 'lost', cause: error, lastHeard: this.lastHeard });
    }
  }

  #data(stream: number, slice: Buffer, flags: number): void {
    if (this.#state === 'open') this.#owner.data(stream, slice, flags);
  }

  #frame(type: number, stream: number, payload: Buffer): void {
    if (type >= FrameType.open) {
      if (this.#state === 'open') this.#owner.frame(type, stream, payload);
      return;
    }
    switch (type) {
      case FrameType.ping:
        if (payload.length !== 8) throw new ProtocolError(`a PING of ${payload.length} bytes`);
        this.send(FrameType.pong, 0, payload);
        return;
      case FrameType.pong:
        if (payload.length !== 8) throw new ProtocolError(`a PONG of ${payload.length} bytes`);
        return;
      case FrameType.datagram:
        if (this.#state === 'open') this.#owner.datagram(stream, payload);
        return;
      case FrameType.goodbye:
        this.#goodbye(payload);
        return;
      default:
        throw new ProtocolError(`a frame of the type 0x${type.toString(16).padStart(2, '0')}, whose feature is not in force`);
    }
  }

  #goodbye(payload: Buffer): void {
    if (this.#state === 'saying-goodbye') {
      this.#destroy();
      return;
    }
    const { code, message } = decodeGoodbye(payload);
    const lost = new ProtocolError(`the far end gave up: ${message}`);
    const end: SessionEnd = code === 'closed' ? { kind: 'goodbye' } : { kind: 'lost', cause: lost, lastHeard: this.lastHeard };
    // Our answer is the last thing on this transport: once it is written, nothing is left to wait for.
    this.#sayGoodbye('closed', '', end, () => this.#destroy());
  }

  /** Sends GOODBYE behind what the transport has already; data that waits in streams is dropped. */
  #sayGoodbye(code: GoodbyeCode, message: string, end: SessionEnd, written: () => void = nothing): void {
    if (this.#state !== 'open') return;
    const payload = encodeGoodbye(code, message);
    this.#batch.header(FrameType.goodbye, 0, 0, payload.length);
    this.#batch.append(payload);
    this.#goodbyeTimer = setTimeout(() => this.#destroy(), GOODBYE_MILLISECONDS);
    this.#writeBatch(written);
    this.#end(end);
  }

  /** From here on nothing is received but, while we say goodbye, the far end's goodbye. */
  #end(end: SessionEnd): void {
    this.#state = 'saying-goodbye';
    this.#liveness.stop();
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    this.#owner.linkEnded(end);
  }

  #destroy(): void {
    this.#state = 'ended';
    this.#decoder.stop();
    clearTimeout(this.#goodbyeTimer);
    this.#duplex.destroy();
  }

  #flush(): void {
    if (this.#state !== 'open') return;
    this.#congested = this.#duplex.writableNeedDrain;
    while (!this.#congested) {
      while (this.#batch.bytes < BATCH_BYTES && this.#owner.writeNext(this.#batch));
      if (this.#batch.bytes === 0) {
        this.#owner.writable();
        return;
      }
      this.#writeBatch();
      this.#congested = this.#duplex.writableNeedDrain;
    }
  }

  /** One writev of the transport, or one SPDY frame of the port-forward. */
  #writeBatch(written: () => void = nothing): void {
    const duplex = this.#duplex;
    this.#liveness.sent();
    const parts = this.#batch.take();
    this.#datagramBytes = 0;
    if (duplex.destroyed) return;
    const last = parts.length - 1;
    if (last > 0) duplex.cork();
    for (const [index, part] of parts.entries()) duplex.write(part, index === last ? written : nothing);
    if (last > 0) duplex.uncork();
  }
}

function nothing(): void {}
