import type { ServerResponse } from 'node:http';
import type { NamesOf } from './destination-names.ts';
import type { FlowLine, FlowMessage } from './flow-messages.ts';
import type { Flow, FlowSnapshot, FlowTable } from './flow-table.ts';

/** Whose flows are told. */
export interface FlowsOf {
  readonly table: FlowTable;
  readonly kind: 'intercept' | 'run' | 'up';
  readonly namesOf?: NamesOf;
  /** A process in the local programs' network namespace, where that is not this process's. */
  readonly network?: () => number | undefined;
}

/** What may wait to be read; some thousand events. A list of all flows may be more. */
const MOST_WAITING_BYTES = 16 * 1024 * 1024;

/** Answers `GET /flows` (`watch`: `?watch`). */
export type AnswerFlows = (response: ServerResponse, watch: boolean) => void;

/** How often bytes that have moved are told. */
const COUNTING_MILLISECONDS = 1_000;

/** What a control socket answers when it is asked for flows (flow-messages.ts). */
export function answerFlows(flows: FlowsOf): AnswerFlows {
  return (response, watch) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' });
    const teller = new Teller(flows, response);
    if (watch) teller.follow();
    else teller.listOnce();
  };
}

/** Tells one reader. */
class Teller {
  readonly #flows: FlowsOf;
  readonly #response: ServerResponse;
  /** What the reader has been told last, of each flow that is open. */
  readonly #told = new Map<number, { readonly state: string; readonly bytes: number }>();
  /** It does not read as fast as it is told: the rest is left out until it has, and then all is listed again. */
  #behind = false;

  constructor(flows: FlowsOf, response: ServerResponse) {
    this.#flows = flows;
    this.#response = response;
  }

  listOnce(): void {
    this.#list();
    this.#response.end();
  }

  /** Until the reader goes away. */
  follow(): void {
    const unsubscribe = this.#flows.table.watch((flow) => this.#changed(flow));
    const timer = setInterval(() => this.#count(), COUNTING_MILLISECONDS).unref();
    this.#response.on('close', () => {
      unsubscribe();
      clearInterval(timer);
    });
    this.#response.on('drain', () => {
      if (!this.#behind) return;
      this.#behind = false;
      this.#list();
    });
    this.#list();
  }

  #list(): void {
    const { table, kind, network } = this.#flows;
    const within = network?.();
    this.#told.clear();
    this.#write({ event: 'list', pid: process.pid, kind, unlisted: table.unlisted, ...(within !== undefined && { network: within }) });
    for (const flow of table.list()) this.#tell('flow', flow);
    this.#write({ event: 'listed' });
  }

  #changed(flow: Flow): void {
    if (this.#isBehind()) return;
    const snapshot = flow.snapshot();
    if (snapshot.state === 'ended') this.#tell('ended', snapshot);
    else this.#tell(snapshot.state === 'opening' ? 'opened' : 'accepted', snapshot);
  }

  #count(): void {
    if (this.#isBehind() || this.#told.size === 0) return;
    for (const flow of this.#flows.table.list()) {
      const told = this.#told.get(flow.id);
      if (told === undefined || (told.bytes === flow.sent + flow.received && told.state === flow.state)) continue;
      this.#tell('counted', flow);
      if (this.#isBehind()) return;
    }
  }

  #tell(event: 'flow' | 'opened' | 'accepted' | 'counted' | 'ended', flow: FlowSnapshot): void {
    if (event === 'ended') this.#told.delete(flow.id);
    else this.#told.set(flow.id, { state: flow.state, bytes: flow.sent + flow.received });
    this.#write({ event, flow: this.#message(flow) });
  }

  #message(flow: FlowSnapshot): FlowMessage {
    const { id, direction, protocol, source, destination, via, pod, state, sent, received, since, until, why, program } = flow;
    const names = this.#flows.namesOf?.(
      direction === 'in'
        ? { address: source.address, local: source.address }
        : { address: destination.address, local: (program.remote ?? destination).address },
    );
    return {
      id,
      direction,
      protocol,
      source,
      destination,
      via,
      state,
      sent,
      received,
      since,
      program: { local: program.local, ...(program.remote !== undefined && { remote: program.remote }) },
      ...names,
      ...(pod !== undefined && { pod }),
      ...(until !== undefined && { until }),
      ...(why !== undefined && { why }),
    };
  }

  #write(line: FlowLine): void {
    this.#response.write(`${JSON.stringify(line)}\n`);
  }

  /** A whole list may wait for the reader; events behind it only so far. */
  #isBehind(): boolean {
    this.#behind ||= this.#response.writableLength > MOST_WAITING_BYTES;
    return this.#behind;
  }
}
