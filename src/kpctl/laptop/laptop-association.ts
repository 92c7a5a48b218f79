import { answerAssociation, type DatagramFlow } from '../../forwarder/index.ts';
import type { AssociationEnd, AssociationRefusal, DatagramSink, TunnelAssociation } from '../../tunnel/types.ts';

/** An association whose far end is this machine: as a session's that ends in a pod, without a session between. */
export function laptopAssociation({ source, destination }: DatagramFlow): TunnelAssociation {
  const near = new End();
  const far = new End();
  near.pair(far);
  const request = { kind: 'dial', source, destination } as const;
  const refuse = (errorClass: AssociationRefusal['errorClass'], message: string): void => far.close({ errorClass, message });
  void answerAssociation({ request, accept: () => far, refuse }, destination);
  return near;
}

/** Datagrams that wait for the socket. */
const mostEarly = 64;

/** One of the two ends. */
class End implements TunnelAssociation {
  readonly id = 0;
  #other: End | undefined;
  #sink: DatagramSink | undefined;
  #early: Buffer[] = [];
  #ended = false;

  pair(other: End): void {
    this.#other = other;
    other.#other = this;
  }

  attach(sink: DatagramSink): void {
    this.#sink = sink;
    for (const payload of this.#early) sink.datagram(payload);
    this.#early = [];
  }

  send(payload: Buffer): boolean {
    return !this.#ended && this.#other?.take(payload) === true;
  }

  take(payload: Buffer): boolean {
    if (this.#sink === undefined && this.#early.length >= mostEarly) return false;
    if (this.#sink === undefined) this.#early.push(payload);
    else this.#sink.datagram(payload);
    return true;
  }

  close(refusal?: AssociationRefusal): void {
    if (this.#ended) return;
    this.#ended = true;
    // Its own `kind`, if it has one, is the forwarder's.
    this.#other?.leave(refusal === undefined ? { kind: 'closed' } : { ...refusal, kind: 'refused' });
  }

  leave(reason: AssociationEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#sink?.closed(reason);
  }
}
