import type { FlowLine, FlowMessage } from './flow-messages.ts';
import type { FindPrograms, Program } from './programs/index.ts';

/** The kpctl process that carries a flow. */
export interface Carrier {
  readonly pid: number;
  readonly kind: 'intercept' | 'run' | 'up';
}

/** A flow with what was found out about it here. */
export interface SeenFlow {
  readonly carrier: Carrier;
  readonly flow: FlowMessage;
  readonly program: Program | undefined;
}

/** What has become of a flow. `listed`: it was open when it was first seen. */
export interface FlowEvent extends SeenFlow {
  readonly event: 'listed' | 'opened' | 'accepted' | 'counted' | 'ended';
}

interface Entry {
  readonly carrier: Carrier;
  readonly network: number | undefined;
  flow: FlowMessage;
  program: Program | undefined;
  /** How often it may still be looked for. */
  tries: number;
  /** The event that has not been told yet, until its program has been looked for. */
  untold: FlowEvent['event'] | undefined;
}

/** A program is looked for when its flow is first seen, and once more when that was too early or it is seen again. */
const TRIES = 3;

/** The flows of one kpctl process, as its lines tell them, each with its program. */
export class SeenFlows {
  readonly #find: FindPrograms;
  readonly #onEvent: (event: FlowEvent) => void;
  readonly #entries = new Map<number, Entry>();
  #carrier: Carrier | undefined;
  #network: number | undefined;
  #unlisted = 0;
  /** Those of the listing that is under way; what is not among them is over. */
  #listing: Set<number> | undefined;
  #looking = Promise.resolve();

  constructor(find: FindPrograms, onEvent: (event: FlowEvent) => void = () => undefined) {
    this.#find = find;
    this.#onEvent = onEvent;
  }

  /** The process; undefined until its first line. */
  get carrier(): Carrier | undefined {
    return this.#carrier;
  }

  /** Flows that the process carries and does not list. */
  get unlisted(): number {
    return this.#unlisted;
  }

  /** The open flows. */
  get flows(): readonly SeenFlow[] {
    return [...this.#entries.values()].map(({ carrier, flow, program }) => ({ carrier, flow, program }));
  }

  /** Takes a line. Events are told when the programs have been looked for, see {@link settled}. */
  take(line: FlowLine): void {
    switch (line.event) {
      case 'list':
        this.#carrier = { pid: line.pid, kind: line.kind };
        this.#network = line.network;
        this.#unlisted = line.unlisted;
        this.#listing = new Set();
        break;
      case 'listed':
        for (const [id, entry] of this.#entries)
          if (this.#listing?.has(id) === false) this.#end(id, entry, { ...entry.flow, state: 'ended' });
        this.#listing = undefined;
        break;
      case 'flow':
        this.#listing?.add(line.flow.id);
        this.#set(line.flow, 'listed');
        break;
      case 'ended': {
        const entry = this.#entries.get(line.flow.id) ?? this.#set(line.flow, 'ended');
        if (entry !== undefined) this.#end(line.flow.id, entry, line.flow);
        break;
      }
      case 'opened':
      case 'accepted':
      case 'counted':
        this.#set(line.flow, line.event);
    }
  }

  /** The process has ended, and its flows with it. */
  end(): void {
    for (const [id, entry] of this.#entries) this.#end(id, entry, { ...entry.flow, state: 'ended', why: 'kpctl has ended' });
  }

  /** Looks for the programs that are missing, and tells what has happened; of what was taken before the call. */
  async settled(): Promise<void> {
    this.#looking = this.#looking.then(async () => await this.#look());
    await this.#looking;
  }

  #set(flow: FlowMessage, event: FlowEvent['event']): Entry | undefined {
    const carrier = this.#carrier;
    if (carrier === undefined) return undefined;
    let entry = this.#entries.get(flow.id);
    if (entry === undefined) {
      entry = { carrier, network: this.#network, flow, program: undefined, tries: TRIES, untold: event };
      this.#entries.set(flow.id, entry);
      return entry;
    }
    entry.flow = flow;
    if (event === 'listed') return entry;
    if (entry.untold === undefined) this.#tell(entry, event);
    return entry;
  }

  #end(id: number, entry: Entry, flow: FlowMessage): void {
    this.#entries.delete(id);
    entry.flow = flow;
    // Its beginning was not told yet: nor will it be, the end says all.
    this.#tell(entry, 'ended');
    entry.untold = undefined;
  }

  async #look(): Promise<void> {
    const unknown = [...this.#entries.values()].filter(({ program, tries }) => program?.pid === undefined && tries > 0);
    const found = await this.#find(unknown.map(({ flow, network }) => ({ flow, network })));
    for (const [index, entry] of unknown.entries()) {
      entry.tries -= 1;
      entry.program = found[index] ?? entry.program;
    }
    for (const entry of this.#entries.values()) {
      const { untold } = entry;
      entry.untold = undefined;
      if (untold !== undefined) this.#tell(entry, untold);
    }
  }

  #tell({ carrier, flow, program }: Entry, event: FlowEvent['event']): void {
    this.#onEvent({ event, carrier, flow, program });
  }
}
