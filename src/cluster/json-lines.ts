/** Objects of the Kubernetes API are at most some MiB (etcd's request limit is 1.5 MiB). */
const MAX_LINE_LENGTH = 32 * 1024 * 1024;
const NEWLINE = 0x0a;

/** Puts a stream of JSON values, one a line, together from chunks that end anywhere. */
export class JsonLines {
  #parts: Buffer[] = [];
  #length = 0;

  /** The values that the chunk completes. Throws for a line that is not JSON, or that never ends. */
  *read(chunk: Buffer): Generator {
    let rest = chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      this.#parts.push(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      const line = Buffer.concat(this.#parts).toString('utf8').trim();
      this.#parts = [];
      this.#length = 0;
      if (line !== '') yield JSON.parse(line) as unknown;
    }
    if (rest.length === 0) return;
    this.#length += rest.length;
    if (this.#length > MAX_LINE_LENGTH) throw new RangeError(`a line is longer than ${MAX_LINE_LENGTH} bytes`);
    this.#parts.push(rest);
  }
}
