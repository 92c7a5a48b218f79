import type { Endpoint } from '../../tunnel/types.ts';

/** `out`: a program of this machine called; `in`: it was called, because its port is claimed. */
export type FlowDirection = 'out' | 'in';

/**
 * `opening`: the destination is being dialled. `half-closed`: one side has said all that it had to say. `ended`: it is over, and no more than remembered for
 * those who watch.
 */
export type FlowState = 'opening' | 'open' | 'half-closed' | 'ended';

/** Where a flow's local program is to be found. As its own socket shows both ends; absent: unknown. */
export interface ProgramSocket {
  readonly local: Endpoint;
  /** Absent: a listener, or a UDP socket that is connected to nobody. */
  readonly remote?: Endpoint;
}

/** What is known of a flow when it begins. */
export interface NewFlow {
  /** Default: `out`. */
  readonly direction?: FlowDirection;
  readonly protocol: 'tcp' | 'udp';
  readonly source: Endpoint;
  /** As it is dialled: of the cluster, where `via` is `cluster`. */
  readonly destination: Endpoint;
  /** `direct`: it is dialled from this machine, not through the tunnel. Default: `cluster`. */
  readonly via?: 'cluster' | 'direct';
  /** Default: from `source` to `destination`. To be given where the program knows its peer by another (a synthetic) address, and for `in`. */
  readonly program?: ProgramSocket;
}

/** Counters that a `net.Socket` keeps anyway. */
export interface CountingSocket {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly readableEnded: boolean;
  readonly writableEnded: boolean;
}

/** A flow in the table; whoever carries it tells what becomes of it. Each call costs next to nothing, and may be made after the end. */
export interface FlowEntry {
  /** Payload that the local program has sent, and was sent, in bytes. To be added to where no socket counts (UDP); else see {@link counted}. */
  sent: number;
  received: number;
  /** From now on the socket's own counters are used: that by which we speak with the local program. */
  counted(socket: CountingSocket): void;
  /** The local program's socket is this one. */
  at(program: ProgramSocket): void;
  /** The far end has accepted. `pod`: the peer's, `shop/web-1`; absent where it does not go through the tunnel. */
  opened(pod?: string): void;
  /** It is over. `why`: of a flow that did not end by itself. Only the first call counts. */
  ended(why?: string): void;
}

/** A flow as it is now, or as it was at its end. */
export interface FlowSnapshot extends NewFlow {
  /** Within this table. */
  readonly id: number;
  readonly direction: FlowDirection;
  readonly via: 'cluster' | 'direct';
  readonly program: ProgramSocket;
  readonly state: FlowState;
  readonly sent: number;
  readonly received: number;
  readonly pod?: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly until?: number;
  readonly why?: string;
}

/** Told of each flow as it begins, is accepted and ends, while somebody watches. */
export type FlowListener = (flow: Flow) => void;

/** Beyond it flows are carried, and not listed. */
const MOST_FLOWS = 16_384;

/** The flows that a kpctl process carries. Holds those that are open, at most so many; one that has ended is remembered only by those who watch. */
export class FlowTable {
  readonly #flows = new Map<number, Flow>();
  readonly #maximum: number;
  readonly #listeners = new Set<FlowListener>();
  #lastId = 0;
  #unlisted = 0;

  constructor({ maximum = MOST_FLOWS }: { readonly maximum?: number } = {}) {
    this.#maximum = maximum;
  }

  /** Flows in the table. */
  get size(): number {
    return this.#flows.size;
  }

  /** Flows that found the table full, since it was made. */
  get unlisted(): number {
    return this.#unlisted;
  }

  /** A flow begins. */
  open(flow: NewFlow): FlowEntry {
    const id = (this.#lastId += 1);
    const entry = new Flow(id, flow, this.#changed);
    if (this.#flows.size >= this.#maximum) {
      this.#unlisted += 1;
      return entry;
    }
    this.#flows.set(id, entry);
    if (this.#listeners.size > 0) this.#changed(entry);
    return entry;
  }

  /** The flows of now, the oldest first. */
  list(): FlowSnapshot[] {
    return [...this.#flows.values()].map((flow) => flow.snapshot());
  }

  /** Calls back at each beginning, acceptance and end; returns the function that unsubscribes. */
  watch(listener: FlowListener): () => void {
    const own: FlowListener = (flow) => listener(flow);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  readonly #changed = (flow: Flow): void => {
    const listed = flow.state === 'ended' ? this.#flows.delete(flow.id) : this.#flows.has(flow.id);
    if (!listed) return;
    for (const listener of this.#listeners) listener(flow);
  };
}

/** One flow of a table. */
export class Flow implements FlowEntry {
  readonly id: number;
  sent = 0;
  received = 0;
  readonly #flow: NewFlow;
  readonly #changed: (flow: Flow) => void;
  readonly #since = Date.now();
  #until: number | undefined;
  #why: string | undefined;
  #accepted = false;
  #pod: string | undefined;
  #socket: CountingSocket | undefined;
  #program: ProgramSocket | undefined;

  constructor(id: number, flow: NewFlow, changed: (flow: Flow) => void) {
    this.id = id;
    this.#flow = flow;
    this.#changed = changed;
  }

  get state(): FlowState {
    if (this.#until !== undefined) return 'ended';
    if (!this.#accepted) return 'opening';
    const socket = this.#socket;
    return socket !== undefined && (socket.readableEnded || socket.writableEnded) ? 'half-closed' : 'open';
  }

  counted(socket: CountingSocket): void {
    this.#socket = socket;
  }

  at(program: ProgramSocket): void {
    this.#program = program;
  }

  opened(pod?: string): void {
    if (this.#accepted || this.#until !== undefined) return;
    this.#accepted = true;
    this.#pod = pod;
    this.#changed(this);
  }

  ended(why?: string): void {
    if (this.#until !== undefined) return;
    this.#readSocket();
    this.#socket = undefined;
    this.#until = Date.now();
    this.#why = why;
    this.#changed(this);
  }

  snapshot(): FlowSnapshot {
    this.#readSocket();
    const { direction = 'out', protocol, source, destination, via = 'cluster' } = this.#flow;
    const program = this.#program ?? this.#flow.program ?? { local: source, remote: destination };
    return {
      id: this.id,
      direction,
      protocol,
      source,
      destination,
      via,
      program,
      state: this.state,
      sent: this.sent,
      received: this.received,
      since: this.#since,
      ...(this.#pod !== undefined && { pod: this.#pod }),
      ...(this.#until !== undefined && { until: this.#until }),
      ...(this.#why !== undefined && { why: this.#why }),
    };
  }

  #readSocket(): void {
    if (this.#socket === undefined) return;
    this.sent = this.#socket.bytesRead;
    this.received = this.#socket.bytesWritten;
  }
}
