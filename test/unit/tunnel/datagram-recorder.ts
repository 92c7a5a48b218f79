import type { AssociationEnd, DatagramSink, IncomingAssociation, TunnelAssociation } from '../../../src/tunnel/types.ts';

/** A sink that notes what comes to an association. */
export class DatagramRecorder implements DatagramSink {
  readonly datagrams: Buffer[] = [];
  readonly ended: Promise<AssociationEnd>;
  readonly #end: (end: AssociationEnd) => void;
  #changed: (() => void) | undefined;

  constructor(association: TunnelAssociation) {
    const { promise, resolve } = Promise.withResolvers<AssociationEnd>();
    this.ended = promise;
    this.#end = resolve;
    association.attach(this);
  }

  get texts(): readonly string[] {
    return this.datagrams.map(String);
  }

  datagram(payload: Buffer): void {
    this.datagrams.push(payload);
    this.#changed?.();
  }

  closed(reason: AssociationEnd): void {
    this.#end(reason);
    this.#changed?.();
  }

  /** Resolves when this many datagrams have come. */
  async count(datagrams: number): Promise<void> {
    while (this.datagrams.length < datagrams) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#changed = resolve;
      await promise;
    }
  }
}

/** Accepts every association, and sends each datagram back. */
export function echo(incoming: IncomingAssociation): void {
  const association = incoming.accept();
  association.attach({ datagram: (payload) => void association.send(payload), closed: () => undefined });
}
