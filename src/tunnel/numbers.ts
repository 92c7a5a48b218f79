import { ProtocolError } from './errors.ts';

const LAST = 0xffff_ffff;

/** The numbers of a session's streams and associations: one row for each side, the laptop's odd, the pod's even (docs/protocol.md, section 5). */
export class Numbers {
  readonly #parity: number;
  #next: number;
  #highestIncoming = 0;

  constructor(side: 'laptop' | 'pod') {
    this.#next = side === 'laptop' ? 1 : 2;
    this.#parity = this.#next % 2;
  }

  /** The next one of ours; undefined when all are used up. */
  take(): number | undefined {
    if (this.#next > LAST) return undefined;
    const id = this.#next;
    this.#next += 2;
    return id;
  }

  isOurs(id: number): boolean {
    return id !== 0 && id % 2 === this.#parity;
  }

  /** An OPEN of the far end has this number. Throws ProtocolError when it is not its turn. */
  arrived(id: number): void {
    if (this.isOurs(id) || id <= this.#highestIncoming) throw new ProtocolError(`an OPEN of stream ${id}, whose number is not its turn`);
    this.#highestIncoming = id;
  }

  /** Whether there has been an OPEN with this number, of either side. */
  wasOpened(id: number): boolean {
    if (id === 0) return false;
    return this.isOurs(id) ? id < this.#next : id <= this.#highestIncoming;
  }
}
