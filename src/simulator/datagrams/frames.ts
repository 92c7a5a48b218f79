/**
 * Datagrams on the pipe between kpctl and the helper that captures them: inside a command's private network, or root's for the whole machine. Both ends are of the same program and start together, so there is
 * no version in it. A frame, integers big-endian:
 *
 * | at | size | what |
 * | --- | --- | --- |
 * | 0 | 4 | length of the payload |
 * | 4 | 1 | kind |
 * | 5 | 1 | IP version: 4 or 6 |
 * | 6 | 2 | the sender's port |
 * | 8 | 2 | the port that it sent to |
 * | 10 | 16 | the sender's address; an IPv4 one in the first four bytes |
 * | 26 | 16 | the address that it sent to |
 *
 * The last five are the association, the same in both directions.
 */
export const frameHeaderSize = 42;

export const FrameKind = {
  /** From a sender, or an answer for it: a datagram. */
  datagram: 1,
  /** To the sender: what it sent cannot be delivered, because nobody listens on that port; no payload. */
  portUnreachable: 2,
  /** To the sender: there is no way to that host; no payload. */
  hostUnreachable: 3,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** A datagram's length is counted with 16 bits (RFC 768). */
const mostPayload = 65_535;

/** Where in a frame its association stands. */
const association = { start: 5, end: frameHeaderSize } as const;

export interface DatagramFrame {
  readonly kind: number;
  /** The association's bytes: version, ports, addresses. */
  readonly association: Buffer;
  readonly payload: Buffer;
}

export interface AssociationAddresses {
  readonly source: Uint8Array;
  readonly sourcePort: number;
  readonly destination: Uint8Array;
  readonly destinationPort: number;
}

/** Writes a frame at `offset` and answers where the next begins. */
export function writeFrame(target: Buffer, offset: number, addresses: AssociationAddresses, payload: Uint8Array): number {
  const { source, sourcePort, destination, destinationPort } = addresses;
  target.writeUInt32BE(payload.length, offset);
  target.writeUInt8(FrameKind.datagram, offset + 4);
  target.writeUInt8(source.length === 4 ? 4 : 6, offset + 5);
  target.writeUInt16BE(sourcePort, offset + 6);
  target.writeUInt16BE(destinationPort, offset + 8);
  target.fill(0, offset + 10, offset + frameHeaderSize);
  target.set(source, offset + 10);
  target.set(destination, offset + 26);
  target.set(payload, offset + frameHeaderSize);
  return offset + frameHeaderSize + payload.length;
}

/** The first part of a frame of an association that is known; the payload follows. */
export function frameHeader(kind: FrameKind, associationBytes: Uint8Array, payloadLength: number): Buffer {
  const header = Buffer.allocUnsafe(frameHeaderSize);
  header.writeUInt32BE(payloadLength, 0);
  header.writeUInt8(kind, 4);
  header.set(associationBytes, association.start);
  return header;
}

/** The association of a frame that begins at `offset`, in the same memory. */
export function associationOf(frames: Buffer, offset: number): Buffer {
  return frames.subarray(offset + association.start, offset + association.end);
}

/** Reads an association's bytes back. */
export function associationAddresses(bytes: Buffer): AssociationAddresses {
  const size = bytes.readUInt8(0) === 4 ? 4 : 16;
  return {
    sourcePort: bytes.readUInt16BE(1),
    destinationPort: bytes.readUInt16BE(3),
    source: bytes.subarray(5, 5 + size),
    destination: bytes.subarray(21, 21 + size),
  };
}

/** Takes frames out of a stream of bytes. What it hands out may be kept: the bytes are the chunk's, or copies. */
export class FrameReader {
  #parts: Buffer[] = [];
  #length = 0;
  #wanted = frameHeaderSize;

  /** The frames that are complete with this chunk. Throws where one is larger than any datagram: it is not the other end that wrote it. */
  *read(chunk: Buffer): Generator<DatagramFrame> {
    this.#parts.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= this.#wanted) {
      const bytes = this.#parts.length === 1 ? (this.#parts[0] ?? chunk) : Buffer.concat(this.#parts, this.#length);
      this.#parts = [bytes];
      const whole = frameHeaderSize + bytes.readUInt32BE(0);
      if (whole > frameHeaderSize + mostPayload) throw new Error('this is no stream of datagrams');
      if (bytes.length < whole) {
        this.#wanted = whole;
        return;
      }
      const rest = bytes.subarray(whole);
      this.#parts = rest.length === 0 ? [] : [rest];
      this.#length = rest.length;
      this.#wanted = frameHeaderSize;
      yield {
        kind: bytes.readUInt8(4),
        association: bytes.subarray(association.start, association.end),
        payload: bytes.subarray(frameHeaderSize, whole),
      };
    }
  }
}
