import { MuxAssociation, PendingAssociation, type AssociationHost } from './association.ts';
import { OpenError, ProtocolError } from './errors.ts';
import { FrameType, limits, ResetCode } from './frames.ts';
import type { Numbers } from './numbers.ts';
import { decodeRefusal, encodeOpen, encodeRefusal, type Refusal } from './open-messages.ts';
import type { DatagramCounters, IncomingAssociation, OpenRequest, TunnelAssociation } from './types.ts';

/** What the associations need of their session's link. */
export interface DatagramLink {
  /** Queues a control frame. */
  send(type: number, id: number, payload: Buffer): void;
  /** Answers false when the link is congested: the datagram was dropped. */
  sendDatagram(id: number, payload: Buffer): boolean;
}

const NO_PAYLOAD = Buffer.alloc(0);

/** The UDP associations of a session (docs/protocol.md, section 6), and what became of their datagrams. */
export class Associations implements AssociationHost {
  readonly #link: DatagramLink;
  readonly #numbers: Numbers;
  readonly #inForce: boolean;
  readonly #incoming: ((association: IncomingAssociation) => void) | undefined;
  readonly #associations = new Map<number, MuxAssociation>();
  readonly #counters = { sent: 0, received: 0, dropped: 0 };
  #ours = 0;
  #theirs = 0;
  #earlyBytes = 0;

  /** `inForce`: both ends know datagrams. `incoming`: `SessionHandlers.incomingAssociation`. */
  constructor(link: DatagramLink, numbers: Numbers, inForce: boolean, incoming?: (association: IncomingAssociation) => void) {
    this.#link = link;
    this.#numbers = numbers;
    this.#inForce = inForce;
    this.#incoming = incoming;
  }

  get counters(): DatagramCounters {
    return { ...this.#counters };
  }

  has(id: number): boolean {
    return this.#associations.has(id);
  }

  /** See `Session.openAssociation`; undefined: there are no numbers left. */
  open(request: OpenRequest): TunnelAssociation | undefined {
    if (!this.#inForce) throw new OpenError('unsupported', 'the far end of the tunnel is of a release that does not carry UDP');
    if (this.#ours >= limits.incomingAssociations) throw new OpenError('failed', 'too many UDP associations at once');
    const id = this.#numbers.take();
    if (id === undefined) return undefined;
    const association = new MuxAssociation(id, 'opening', this);
    this.#associations.set(id, association);
    this.#ours += 1;
    this.#link.send(FrameType.open, id, encodeOpen(request, 'udp'));
    return association;
  }

  /** An OPEN of the far end that asks for an association. */
  receivedOpen(id: number, request: OpenRequest): void {
    const refusal = this.#refusal();
    if (refusal !== undefined || this.#incoming === undefined) {
      this.#link.send(FrameType.refuse, id, encodeRefusal(refusal ?? { errorClass: 'unsupported', message: 'UDP is not taken here' }));
      return;
    }
    const association = new MuxAssociation(id, 'asked', this);
    this.#associations.set(id, association);
    this.#theirs += 1;
    this.#incoming(new PendingAssociation(association, request, this));
  }

  /** ACCEPT or REFUSE; false: it is not for an association. */
  receivedAnswer(type: number, id: number, payload: Buffer): boolean {
    const association = this.#associations.get(id);
    if (association === undefined) return false;
    if (!this.#numbers.isOurs(id)) throw new ProtocolError(`an answer to association ${id}, which was not opened`);
    if (type === FrameType.accept) {
      if (association.state !== 'opening') throw new ProtocolError(`a second ACCEPT of association ${id}`);
      association.state = 'open';
      return true;
    }
    const refusal = decodeRefusal(payload);
    this.#forget(id);
    association.endedByPeer({ kind: 'refused', ...refusal });
    return true;
  }

  /** RESET; false: it is not for an association. */
  receivedReset(id: number): boolean {
    const association = this.#associations.get(id);
    if (association === undefined) return false;
    if (association.state === 'opening') throw new ProtocolError(`RESET of association ${id} in the place of an answer`);
    this.#forget(id);
    association.endedByPeer({ kind: 'closed' });
    return true;
  }

  /** DATAGRAM. */
  receivedDatagram(id: number, payload: Buffer): void {
    if (!this.#inForce) throw new ProtocolError('a DATAGRAM, although the feature is not in force');
    if (payload.length > limits.datagramBytes) throw new ProtocolError(`a DATAGRAM of ${payload.length} bytes`);
    const association = this.#associations.get(id);
    if (association === undefined) {
      // It may have crossed the RESET of its association.
      if (!this.#numbers.wasOpened(id)) throw new ProtocolError(`DATAGRAM on association ${id}, which was never opened`);
      this.#counters.dropped += 1;
    } else if (association.received(payload)) this.#counters.received += 1;
    else this.#counters.dropped += 1;
  }

  /** The session has ended. */
  lost(): void {
    const associations = [...this.#associations.values()];
    this.#associations.clear();
    for (const association of associations) association.endedByPeer({ kind: 'session-lost' });
  }

  // What associations call.

  sendDatagram(association: MuxAssociation, payload: Buffer): boolean {
    const sent = payload.length <= limits.datagramBytes && this.#link.sendDatagram(association.id, payload);
    if (sent) this.#counters.sent += 1;
    else this.#counters.dropped += 1;
    return sent;
  }

  keepEarly(association: MuxAssociation, payload: Buffer): boolean {
    if (association.early >= limits.earlyDatagrams || this.#earlyBytes + payload.length > limits.earlyDatagramBytes) return false;
    this.#earlyBytes += payload.length;
    return true;
  }

  releaseEarly(bytes: number): void {
    this.#earlyBytes -= bytes;
  }

  closed({ id }: MuxAssociation, refusal: Refusal | undefined): void {
    if (!this.#associations.has(id)) return;
    this.#forget(id);
    if (refusal !== undefined && !this.#numbers.isOurs(id)) this.#link.send(FrameType.refuse, id, encodeRefusal(refusal));
    else this.#link.send(FrameType.reset, id, Buffer.of(ResetCode.application));
  }

  accepted(association: MuxAssociation): void {
    // The far end has given up meanwhile, or the session has ended.
    if (association.state !== 'asked') return;
    association.state = 'open';
    this.#link.send(FrameType.accept, association.id, NO_PAYLOAD);
  }

  refused(association: MuxAssociation, refusal: Refusal): void {
    const asked = association.state === 'asked';
    association.discard();
    if (!asked) return;
    this.#forget(association.id);
    this.#link.send(FrameType.refuse, association.id, encodeRefusal(refusal));
  }

  #refusal(): Refusal | undefined {
    if (!this.#inForce) return { errorClass: 'unsupported', message: 'the feature "datagrams" is not in force' };
    if (this.#theirs >= limits.incomingAssociations) return { errorClass: 'failed', message: 'too many UDP associations at once' };
    return undefined;
  }

  #forget(id: number): void {
    if (!this.#associations.delete(id)) return;
    if (this.#numbers.isOurs(id)) this.#ours -= 1;
    else this.#theirs -= 1;
  }
}
