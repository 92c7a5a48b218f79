import type { Refusal } from './open-messages.ts';
import type { AssociationEnd, DatagramSink, DialErrorClass, IncomingAssociation, OpenRequest, TunnelAssociation } from './types.ts';

/** What an association needs of its session. */
export interface AssociationHost {
  /** Answers false when the datagram was dropped. */
  sendDatagram(association: MuxAssociation, payload: Buffer): boolean;
  /** Whether one more datagram may be kept for an association that has no sink yet. */
  keepEarly(association: MuxAssociation, payload: Buffer): boolean;
  /** The datagrams that were kept are not kept any more. */
  releaseEarly(bytes: number): void;
  /** Closed at this end: the far end is told. */
  closed(association: MuxAssociation, refusal: Refusal | undefined): void;
  accepted(association: MuxAssociation): void;
  refused(association: MuxAssociation, refusal: Refusal): void;
}

/** `opening`: ours, without an answer. `asked`: the far end's, without our answer. */
export type AssociationState = 'opening' | 'asked' | 'open' | 'ended';

/** One UDP association of a session. docs/protocol.md, section 6, has its states. */
export class MuxAssociation implements TunnelAssociation {
  readonly id: number;
  state: AssociationState;
  readonly #host: AssociationHost;
  #sink: DatagramSink | undefined;
  /** What came before the sink was attached. */
  #early: Buffer[] = [];
  #earlyEnd: AssociationEnd | undefined;

  constructor(id: number, state: 'opening' | 'asked', host: AssociationHost) {
    this.id = id;
    this.state = state;
    this.#host = host;
  }

  /** Datagrams that wait for a sink. */
  get early(): number {
    return this.#early.length;
  }

  attach(sink: DatagramSink): void {
    if (this.#sink !== undefined) throw new Error(`association ${this.id} has a sink already`);
    this.#sink = sink;
    for (const payload of this.#takeEarly()) {
      sink.datagram(payload);
      // The sink may have closed it while it took the datagram.
      if (this.state === 'ended' && this.#earlyEnd === undefined) return;
    }
    if (this.#earlyEnd !== undefined) sink.closed(this.#earlyEnd);
  }

  send(payload: Buffer): boolean {
    if (this.state !== 'open' && this.state !== 'opening') return false;
    return this.#host.sendDatagram(this, payload);
  }

  close(refusal?: Refusal): void {
    if (this.state === 'ended') return;
    this.discard();
    this.#host.closed(this, refusal);
  }

  /** Refused at this end: what came meanwhile is not wanted. */
  discard(): void {
    this.state = 'ended';
    this.#takeEarly();
  }

  /** A datagram arrived; false: it was dropped. */
  received(payload: Buffer): boolean {
    if (this.state === 'opening' || this.state === 'ended') return false;
    if (this.#sink !== undefined) {
      this.#sink.datagram(payload);
      return true;
    }
    if (!this.#host.keepEarly(this, payload)) return false;
    // A copy: the payload may be a small piece of a large read, which it would keep alive.
    this.#early.push(Buffer.from(payload));
    return true;
  }

  /** Ended by the far end, or because the session ended. Sends nothing. */
  endedByPeer(end: AssociationEnd): void {
    if (this.state === 'ended') return;
    this.state = 'ended';
    if (this.#sink !== undefined) this.#sink.closed(end);
    // What came before the end is still delivered: a query may be answered by somebody who then leaves.
    else this.#earlyEnd = end;
  }

  #takeEarly(): readonly Buffer[] {
    const early = this.#early;
    if (early.length === 0) return early;
    this.#early = [];
    this.#host.releaseEarly(early.reduce((sum, payload) => sum + payload.length, 0));
    return early;
  }
}

/** An OPEN of an association that waits for our answer. */
export class PendingAssociation implements IncomingAssociation {
  readonly request: OpenRequest;
  readonly #association: MuxAssociation;
  readonly #host: AssociationHost;
  #answered = false;

  constructor(association: MuxAssociation, request: OpenRequest, host: AssociationHost) {
    this.request = request;
    this.#association = association;
    this.#host = host;
  }

  /** After the far end gave up, the association that this returns has ended already. */
  accept(): TunnelAssociation {
    this.#answer();
    this.#host.accepted(this.#association);
    return this.#association;
  }

  refuse(errorClass: DialErrorClass, message: string): void {
    this.#answer();
    this.#host.refused(this.#association, { errorClass, message });
  }

  #answer(): void {
    if (this.#answered) throw new Error(`association ${this.#association.id} was answered already`);
    this.#answered = true;
  }
}
