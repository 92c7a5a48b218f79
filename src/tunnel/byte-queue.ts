/** A chunk below this is worth a copy when it can share a buffer with its neighbour. */
const SMALL_BYTES = 8 * 1024;
const SHARED_BYTES = 16 * 1024;

/**
 * Bytes that wait, in order, as the chunks that they came in: large ones are kept by reference, small ones that
 * follow each other are put together. So a slow reader costs about as much memory as the bytes that wait, also when
 * they arrive one by one or as slices that each hold a whole read's buffer.
 */
export class ByteQueue {
  /** Bytes that wait. */
  bytes = 0;
  #chunks: Buffer[] = [];
  /** The first chunk that has not been taken. */
  #head = 0;
  /** The buffer that the last chunk shares with small chunks to come, and how much of it is used. */
  #shared: Buffer | undefined;
  #used = 0;

  /** Takes the chunk over: it must not be changed afterwards. */
  push(chunk: Buffer): void {
    const size = chunk.length;
    if (size === 0) return;
    this.bytes += size;
    if (size < SMALL_BYTES && this.#chunks.length > this.#head && this.#merge(chunk)) return;
    this.#shared = undefined;
    this.#chunks.push(chunk);
  }

  /** Takes at most `limit` bytes off the front, each piece to `take`, in order. */
  shift(limit: number, take: (chunk: Buffer) => void): void {
    let wanted = Math.min(limit, this.bytes);
    this.bytes -= wanted;
    while (wanted > 0) {
      const chunk = this.#chunks[this.#head];
      if (chunk === undefined) throw new Error('a byte queue lost count of its bytes');
      if (chunk.length > wanted) {
        this.#chunks[this.#head] = chunk.subarray(wanted);
        take(chunk.subarray(0, wanted));
        break;
      }
      wanted -= chunk.length;
      this.#head += 1;
      take(chunk);
    }
    if (this.bytes === 0) this.clear();
    else if (this.#head > 64) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#head = 0;
    }
  }

  /** All chunks, in order; the queue is empty afterwards. */
  takeAll(): readonly Buffer[] {
    const chunks = this.#head === 0 ? this.#chunks : this.#chunks.slice(this.#head);
    this.clear();
    return chunks;
  }

  clear(): void {
    this.bytes = 0;
    this.#chunks = [];
    this.#head = 0;
    this.#shared = undefined;
  }

  /** Puts a small chunk behind the last one, if that is small too. */
  #merge(chunk: Buffer): boolean {
    const lastIndex = this.#chunks.length - 1;
    const last = this.#chunks[lastIndex];
    if (last === undefined) return false;
    if (this.#shared === undefined) {
      if (last.length >= SMALL_BYTES) return false;
      this.#shared = Buffer.allocUnsafeSlow(SHARED_BYTES);
      last.copy(this.#shared);
      this.#used = last.length;
    }
    if (this.#used + chunk.length > SHARED_BYTES) return false;
    chunk.copy(this.#shared, this.#used);
    this.#used += chunk.length;
    // The last chunk may have lost its front to `shift`: it always ends where the shared buffer's used part ends.
    const start = this.#used - chunk.length - last.length;
    this.#chunks[lastIndex] = this.#shared.subarray(start, this.#used);
    return true;
  }
}
