import type { MuxStream } from './stream.ts';
import type { OpeningStream, TunnelStream } from './types.ts';

/** A stream of ours between its OPEN and the answer. */
export class Opening implements OpeningStream {
  readonly answer: Promise<TunnelStream>;
  readonly #stream: MuxStream;
  #room: number;

  constructor(stream: MuxStream, answer: Promise<TunnelStream>, room: number) {
    this.#stream = stream;
    this.answer = answer;
    this.#room = room;
    // From the answer on it is written to as every other stream.
    answer.then(
      () => (this.#room = 0),
      () => (this.#room = 0),
    );
  }

  get earlyRoom(): number {
    return this.#room;
  }

  sendEarly(chunk: Buffer): void {
    if (chunk.length > this.#room) throw new RangeError(`${chunk.length} bytes of early data, and room for ${this.#room}`);
    this.#room -= chunk.length;
    this.#stream.write(chunk);
  }
}
