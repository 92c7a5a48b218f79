import type { AssociationEnd, AssociationRefusal, DatagramSink, IncomingAssociation, TunnelAssociation } from '../../tunnel/index.ts';
import type { FlowEntry } from './flow-table.ts';

/** An association whose payload is counted, and whose refusal is told to the user as well. */
export class ListedAssociation implements TunnelAssociation {
  readonly id = 0;
  readonly #inner: TunnelAssociation;
  readonly #entry: FlowEntry | undefined;
  readonly #tell: ((refusal: AssociationRefusal) => void) | undefined;

  constructor(inner: TunnelAssociation, entry: FlowEntry | undefined, tell?: (refusal: AssociationRefusal) => void) {
    this.#inner = inner;
    this.#entry = entry;
    this.#tell = tell;
  }

  attach(sink: DatagramSink): void {
    const entry = this.#entry;
    this.#inner.attach({
      datagram: (payload) => {
        if (entry !== undefined) entry.received += payload.length;
        sink.datagram(payload);
      },
      closed: (reason) => {
        if (reason.kind === 'refused') this.#tell?.(reason);
        entry?.ended(whyClosed(reason));
        sink.closed(reason);
      },
    });
  }

  send(payload: Buffer): boolean {
    const sent = this.#inner.send(payload);
    if (sent && this.#entry !== undefined) this.#entry.sent += payload.length;
    return sent;
  }

  close(refusal?: AssociationRefusal): void {
    this.#entry?.ended(refusal?.message);
    this.#inner.close(refusal);
  }
}

function whyClosed(end: AssociationEnd): string | undefined {
  switch (end.kind) {
    case 'closed':
      return undefined;
    case 'refused':
      return `${end.errorClass}: ${end.message}`;
    case 'session-lost':
      return 'the tunnel was lost';
  }
}

/** The same of one that the far end opens. */
export function listedIncoming(association: IncomingAssociation, entry: FlowEntry | undefined): IncomingAssociation {
  if (entry === undefined) return association;
  return {
    request: association.request,
    accept: () => new ListedAssociation(association.accept(), entry),
    refuse: (errorClass, message) => {
      entry.ended(`${errorClass}: ${message}`);
      association.refuse(errorClass, message);
    },
  };
}
