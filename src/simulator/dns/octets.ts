/** Reads octets for dns2's decoders, which ask in bits. Throws a RangeError past the end. */
export class OctetReader {
  readonly buffer: Buffer;
  /** In bits, as dns2 counts. */
  offset: number;

  constructor(buffer: Buffer, octet = 0) {
    this.buffer = buffer;
    this.offset = octet * 8;
  }

  remaining(): number {
    return this.buffer.length * 8 - this.offset;
  }

  read(bits: number): number {
    const octet = this.offset >> 3;
    const shift = this.offset & 7;
    this.offset += bits;
    if (shift !== 0 || (bits & 7) !== 0) return (this.buffer.readUInt8(octet) >> (8 - shift - bits)) & ((1 << bits) - 1);
    return bits === 0 ? 0 : this.buffer.readUIntBE(octet, bits >> 3);
  }
}

/** Takes octets from dns2's encoders, which give bits. Grows; `rewind` takes back what was written last. */
export class OctetWriter {
  /** Part of dns2's type; its encoders of the records that we use never touch it. */
  readonly buffer: number[] = [];
  /** Where each suffix was written, for compression (RFC 1035 section 4.1.4); dns2 keeps it here. */
  readonly names = new Map<string, number>();
  private octets = Buffer.allocUnsafe(1536);
  private length = 0;

  write(value: number, bits: number): void {
    const size = bits >> 3;
    this.reserve(size);
    this.octets.writeUIntBE(bits === 32 ? value >>> 0 : value, this.length, size);
    this.length += size;
  }

  writeBuffer(): never {
    throw new Error('EDNS options are not written through dns2');
  }

  append(source: Buffer): void {
    this.reserve(source.length);
    source.copy(this.octets, this.length);
    this.length += source.length;
  }

  patch(bitOffset: number, value: number, bits: number): void {
    this.octets.writeUIntBE(value, bitOffset >> 3, bits >> 3);
  }

  bitLength(): number {
    return this.length * 8;
  }

  byteLength(): number {
    return this.length;
  }

  rewind(length: number): void {
    this.length = length;
    for (const [name, offset] of this.names) if (offset >= length) this.names.delete(name);
  }

  toBuffer(): Buffer {
    return this.octets.subarray(0, this.length);
  }

  private reserve(size: number): void {
    if (this.length + size <= this.octets.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.octets.length * 2, this.length + size));
    this.octets.copy(larger, 0, 0, this.length);
    this.octets = larger;
  }
}
