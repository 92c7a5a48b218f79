import type { AssociationRefusal, DatagramSink, TunnelAssociation } from '../../tunnel/types.ts';

/** Datagrams that wait for an association to be opened; what comes after so many is dropped. */
const mostPending = 64;

/** An association that is opened later: when there is a session. Takes a few datagrams until then. */
export class DeferredAssociation implements TunnelAssociation {
  readonly id = 0;
  #opened: TunnelAssociation | undefined;
  #sink: DatagramSink | undefined;
  #pending: Buffer[] = [];
  #ended = false;

  /** `opening` rejecting ends it; `refusalOf` says how. undefined: it counts as lost with its session. */
  constructor(opening: Promise<TunnelAssociation>, refusalOf: (error: unknown) => AssociationRefusal | undefined) {
    void this.#follow(opening, refusalOf);
  }

  attach(sink: DatagramSink): void {
    this.#sink = sink;
  }

  send(payload: Buffer): boolean {
    if (this.#opened !== undefined) return this.#opened.send(payload);
    if (this.#ended || this.#pending.length >= mostPending) return false;
    this.#pending.push(payload);
    return true;
  }

  close(refusal?: AssociationRefusal): void {
    this.#ended = true;
    this.#pending = [];
    this.#opened?.close(refusal);
  }

  async #follow(opening: Promise<TunnelAssociation>, refusalOf: (error: unknown) => AssociationRefusal | undefined): Promise<void> {
    try {
      const opened = await opening;
      if (this.#ended) {
        opened.close();
        return;
      }
      this.#opened = opened;
      opened.attach({
        datagram: (payload) => this.#sink?.datagram(payload),
        closed: (reason) => this.#sink?.closed(reason),
      });
      for (const payload of this.#pending) opened.send(payload);
      this.#pending = [];
    } catch (error) {
      if (this.#ended) return;
      this.#ended = true;
      this.#pending = [];
      const refusal = refusalOf(error);
      this.#sink?.closed(refusal === undefined ? { kind: 'session-lost' } : { kind: 'refused', ...refusal });
    }
  }
}
