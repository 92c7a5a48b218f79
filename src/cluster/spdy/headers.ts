import { createInflate, constants, type Inflate } from 'node:zlib';
import { DICTIONARY_ADLER32, dictionary } from './dictionary.ts';

/** A stream's headers. Names are lower case on the wire (SPDY/3 section 2.6.10). */
export type SpdyHeaders = Readonly<Record<string, string>>;

/** A decompressed block of headers may not be longer; a port-forward's has some 60 bytes. */
const MAX_BLOCK_LENGTH = 1 << 20;

/**
 * Writes name/value header blocks (SPDY/3 section 2.6.10), one encoder per connection and direction.
 *
 * A connection has one zlib stream in each direction, and every block ends with a sync flush. Ours holds its
 * bytes in stored blocks (RFC 1951 section 3.2.4): the blocks are tiny, so compressing them gains nothing,
 * and stored ones can be written at once, without zlib's thread pool. The stream's header names the
 * dictionary, as the draft requires; the empty stored block at the end is the sync flush that makes Go's
 * reader hand the block out.
 */
export class HeaderEncoder {
  #started = false;

  encode(headers: SpdyHeaders): Buffer {
    const entries = Object.entries(headers);
    const parts: Buffer[] = [uint32(entries.length)];
    for (const [name, value] of entries) {
      for (const text of [name.toLowerCase(), value]) {
        const bytes = Buffer.from(text);
        parts.push(uint32(bytes.length), bytes);
      }
    }
    const block = Buffer.concat(parts);
    if (block.length > 0xffff) throw new RangeError(`a header block of ${block.length} bytes does not fit a stored block`);
    const stored = Buffer.alloc(5);
    stored.writeUInt16LE(block.length, 1);
    stored.writeUInt16LE(block.length ^ 0xffff, 3);
    const encoded: Buffer[] = [stored, block, Buffer.from([0, 0, 0, 0xff, 0xff])];
    // RFC 1950: deflate with a 32 KiB window, FDICT set, the check bits, and the dictionary's Adler-32.
    if (!this.#started) encoded.unshift(Buffer.from([0x78, 0x20]), uint32(DICTIONARY_ADLER32));
    this.#started = true;
    return Buffer.concat(encoded);
  }
}

/** Reads what a peer's encoder wrote, ours or moby/spdystream's (which compresses). Blocks must be given one after the other. */
export class HeaderDecoder {
  readonly #inflate: Inflate;
  #output: Buffer[] = [];
  #length = 0;
  #fail: ((error: Error) => void) | undefined;

  constructor() {
    this.#inflate = createInflate({ dictionary, flush: constants.Z_SYNC_FLUSH });
    this.#inflate.on('data', (chunk: Buffer) => {
      this.#length += chunk.length;
      if (this.#length <= MAX_BLOCK_LENGTH) this.#output.push(chunk);
      else this.#inflate.destroy(new RangeError('the header block is too long'));
    });
    this.#inflate.on('error', (error) => this.#fail?.(error));
  }

  /** Calls back with the headers, or with an Error; never synchronously, and not at all after `close`. */
  decode(block: Buffer, callback: (result: SpdyHeaders | Error) => void): void {
    let answered = false;
    const answer = (result: SpdyHeaders | Error): void => {
      if (answered) return;
      answered = true;
      callback(result);
    };
    this.#output = [];
    this.#length = 0;
    this.#fail = answer;
    this.#inflate.write(block, (error) => {
      if (error != null) return;
      // What the write made is in the stream's buffer by now, and is handed out within this turn.
      setImmediate(() => {
        if (this.#fail !== answer) return;
        try {
          answer(parseBlock(Buffer.concat(this.#output)));
        } catch (error) {
          answer(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
  }

  close(): void {
    this.#fail = undefined;
    this.#inflate.destroy();
  }
}

function parseBlock(block: Buffer): SpdyHeaders {
  const headers = new Map<string, string>();
  let offset = 4;
  const text = (): string => {
    const end = offset + 4 + block.readUInt32BE(offset);
    if (end > block.length) throw new RangeError('a header is longer than its block');
    const value = block.toString('utf8', offset + 4, end);
    offset = end;
    return value;
  };
  for (let count = block.readUInt32BE(0); count > 0; count--) {
    const name = text().toLowerCase();
    headers.set(name, text());
  }
  return Object.fromEntries(headers);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
