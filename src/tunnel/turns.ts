import type { MuxStream } from './stream.ts';

/** Places at the front that have been left, before the line is moved up. */
const SLACK = 1024;

/** The streams that have something to send, in a line: each writes one frame, and goes to the end if it has more. */
export class Turns {
  #line: MuxStream[] = [];
  #head = 0;

  /** Answers false when the stream stands in the line already. */
  join(stream: MuxStream): boolean {
    if (stream.inLine) return false;
    stream.inLine = true;
    this.#line.push(stream);
    return true;
  }

  /** The next stream that can send; it has left the line. */
  next(): MuxStream | undefined {
    for (;;) {
      const stream = this.#line[this.#head];
      if (stream === undefined) {
        this.clear();
        return undefined;
      }
      this.#head += 1;
      stream.inLine = false;
      if (this.#head >= SLACK) {
        this.#line = this.#line.slice(this.#head);
        this.#head = 0;
      }
      // It may have been reset while it stood here.
      if (stream.sendable) return stream;
    }
  }

  clear(): void {
    if (this.#line.length > 0) this.#line = [];
    this.#head = 0;
  }
}
