import type { Closeable } from '../platform/owned.ts';
import type { AssociationEnd, DatagramSink, Endpoint, TunnelAssociation } from '../tunnel/types.ts';
import { ASSOCIATION_IDLE_MILLISECONDS } from './answer-association.ts';

/** Whose datagrams: one association for each pair. */
export interface DatagramFlow {
  readonly source: Endpoint;
  /** Where the source wanted to go, and whence it expects its answers. */
  readonly destination: Endpoint;
}

/** Why an entry of the table has ended. */
export type EntryEnd =
  /** By the far end, or with its session. */
  | AssociationEnd
  /** There was no datagram for the idle time-out. */
  | { readonly kind: 'idle' }
  /** It was idle for longer than all others, when there was no room for a new one. */
  | { readonly kind: 'evicted' }
  /** Closed by the owner of the table, or because its flow goes another way now. */
  | { readonly kind: 'closed-here' };

/** How a table is set up. `Via` is what an association is opened by: a session, or whoever knows it. */
export interface AssociationTableOptions<Via> {
  /** Opens the association for a flow's first datagram, and after each end for the next one; undefined: the datagram is dropped. */
  readonly open: (via: Via, flow: DatagramFlow) => TunnelAssociation | undefined;
  /** Takes an answer for `flow.source`, as from `flow.destination`. */
  readonly answer: (payload: Buffer, flow: DatagramFlow) => void;
  /** Told of each end of what `open` opened. */
  readonly ended?: (via: Via, flow: DatagramFlow, end: EntryEnd) => void;
  /** 60 s. */
  readonly idleMilliseconds?: number;
  /** Associations at once; 1024. Each may cost the far end a socket. */
  readonly maximum?: number;
}

/** What became of a table's associations and datagrams, since it was made. */
export interface AssociationTableCounters {
  readonly opened: number;
  readonly expired: number;
  readonly evicted: number;
  /** Ended by a refusal of the far end. */
  readonly refused: number;
  /** Datagrams of sources that were given to an association. */
  readonly sent: number;
  /** Answers. */
  readonly received: number;
  /** Datagrams of sources that went nowhere: nobody to take them, or a tunnel that is too slow. */
  readonly dropped: number;
}

const DEFAULT_MAXIMUM = 1024;

/** The associations of whoever captures UDP, by source and destination: at most so many, each until it has been idle. */
export class AssociationTable<Via> implements Closeable {
  readonly #options: AssociationTableOptions<Via>;
  readonly #idle: number;
  readonly #maximum: number;
  /** In the order of their last datagrams, in either direction: the longest idle first. */
  readonly #entries = new Map<string, Entry<Via>>();
  readonly #counters = { opened: 0, expired: 0, evicted: 0, refused: 0, sent: 0, received: 0, dropped: 0 };
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: AssociationTableOptions<Via>) {
    this.#options = options;
    this.#idle = options.idleMilliseconds ?? ASSOCIATION_IDLE_MILLISECONDS;
    this.#maximum = options.maximum ?? DEFAULT_MAXIMUM;
  }

  /** Associations at present. */
  get size(): number {
    return this.#entries.size;
  }

  get counters(): AssociationTableCounters {
    return { ...this.#counters };
  }

  /**
   * Sends a datagram on the association of its flow, which is opened when there is none, or when the one that is there was opened by
   * another `via`. False: it was dropped, and counted. The buffer must not be changed afterwards.
   */
  send(via: Via, flow: DatagramFlow, payload: Buffer): boolean {
    const key = keyOf(flow);
    let entry = this.#entries.get(key);
    if (entry !== undefined && entry.via !== via) {
      this.#remove(entry, { kind: 'closed-here' });
      entry = undefined;
    }
    entry ??= this.#open(key, via, flow);
    return this.#pass(entry, payload);
  }

  /** Sends a datagram on the association that its flow has already, whoever opened it. False: there is none, or it was dropped. */
  sendExisting(flow: DatagramFlow, payload: Buffer): boolean {
    return this.#pass(this.#entries.get(keyOf(flow)), payload);
  }

  /** A datagram of a source that was not even offered to the table. */
  countDropped(): void {
    this.#counters.dropped += 1;
  }

  /** Ends all associations; the table can go on. */
  endAll(): void {
    for (const entry of this.#entries.values()) this.#remove(entry, { kind: 'closed-here' });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.endAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #pass(entry: Entry<Via> | undefined, payload: Buffer): boolean {
    if (entry !== undefined) this.#touch(entry);
    if (entry?.association.send(payload) === true) {
      this.#counters.sent += 1;
      return true;
    }
    this.#counters.dropped += 1;
    return false;
  }

  #open(key: string, via: Via, flow: DatagramFlow): Entry<Via> | undefined {
    if (this.#closed) return undefined;
    const association = this.#options.open(via, flow);
    if (association === undefined) return undefined;
    if (this.#entries.size >= this.#maximum) {
      const [longestIdle] = this.#entries.values();
      if (longestIdle !== undefined) {
        this.#counters.evicted += 1;
        this.#remove(longestIdle, { kind: 'evicted' });
      }
    }
    this.#counters.opened += 1;
    const entry: Entry<Via> = { key, via, flow, association, last: performance.now() };
    this.#entries.set(key, entry);
    this.#timer ??= setTimeout(() => this.#expire(), this.#idle);
    association.attach(this.#sinkOf(entry));
    // It may have been refused already, which the sink has been told.
    return this.#entries.get(key) === entry ? entry : undefined;
  }

  #sinkOf(entry: Entry<Via>): DatagramSink {
    return {
      datagram: (payload) => {
        if (this.#entries.get(entry.key) !== entry) return;
        this.#counters.received += 1;
        this.#touch(entry);
        this.#options.answer(payload, entry.flow);
      },
      closed: (end) => {
        if (end.kind === 'refused') this.#counters.refused += 1;
        this.#remove(entry, end);
      },
    };
  }

  #touch(entry: Entry<Via>): void {
    entry.last = performance.now();
    this.#entries.delete(entry.key);
    this.#entries.set(entry.key, entry);
  }

  #expire(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const entry of this.#entries.values()) {
      const left = entry.last + this.#idle - now;
      if (left > 0) {
        this.#timer = setTimeout(() => this.#expire(), left);
        return;
      }
      this.#counters.expired += 1;
      this.#remove(entry, { kind: 'idle' });
    }
  }

  #remove(entry: Entry<Via>, end: EntryEnd): void {
    if (this.#entries.get(entry.key) !== entry) return;
    this.#entries.delete(entry.key);
    if (this.#entries.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    entry.association.close();
    this.#options.ended?.(entry.via, entry.flow, end);
  }
}

interface Entry<Via> {
  readonly key: string;
  readonly via: Via;
  readonly flow: DatagramFlow;
  readonly association: TunnelAssociation;
  /** `performance.now()` of its last datagram. */
  last: number;
}

function keyOf({ source, destination }: DatagramFlow): string {
  return `${source.port} ${destination.port} ${source.address} ${destination.address}`;
}
