import { hasNoOptions } from './cached-upstream.ts';
import { encodeAnswer, TYPE } from './message.ts';
import type { Answer, Query, ResourceRecord } from './message.ts';

interface Prepared {
  readonly query: Query;
  readonly answer: Answer;
  /** One for each address that the answer may start with, made when it is first needed. */
  readonly messages: (Buffer | undefined)[];
  readonly generation: number;
  /** `performance.now()`. */
  readonly since: number;
  turn: number;
}

/** Most queries whose answers are ready. */
const MOST = 4096;
/** Orders of the addresses of one answer, beyond which no more are made. */
const MOST_ORDERS = 16;
/** Milliseconds after which an answer is computed again, whatever happened. */
const LONGEST = 1000;

/**
 * The zone's answers to the queries of the last second, as octets: the same octets (but for the id) are answered from here without being read. A
 * change of any record makes all of them void. Addresses start with another one each time, so that clients that take the first spread over all.
 */
export class PreparedAnswers {
  readonly #generation: () => number;
  readonly #prepared = new Map<string, Prepared>();
  #turn = 0;

  constructor(generation: () => number) {
    this.#generation = generation;
  }

  find(bytes: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined {
    const key = keyOf(bytes, transport);
    const prepared = this.#prepared.get(key);
    if (prepared === undefined) return undefined;
    if (prepared.generation === this.#generation() && performance.now() - prepared.since < LONGEST) return next(prepared, bytes);
    this.#prepared.delete(key);
    return undefined;
  }

  /** The message that answers `query`, ready for the next time. */
  prepare(query: Query, answer: Answer): Buffer {
    const { length } = answer.answers.slice(firstAddress(answer.answers));
    const messages = Array.from<undefined>({ length: Math.min(Math.max(1, length), MOST_ORDERS) }).fill(undefined);
    this.#turn += 1;
    const prepared: Prepared = { query, answer, messages, generation: this.#generation(), since: performance.now(), turn: this.#turn };
    // What a client says in options (a cookie) it will not say again.
    if (hasNoOptions(query)) {
      this.#prepared.set(keyOf(query.bytes, query.transport), prepared);
      for (const oldest of this.#prepared.keys()) {
        if (this.#prepared.size <= MOST) break;
        this.#prepared.delete(oldest);
      }
    }
    return next(prepared, query.bytes);
  }
}

function keyOf(bytes: Buffer, transport: 'udp' | 'tcp'): string {
  return transport === 'udp' ? bytes.toString('latin1', 2) : `tcp${bytes.toString('latin1', 2)}`;
}

function next(prepared: Prepared, bytes: Buffer): Buffer {
  const { query, answer, messages } = prepared;
  prepared.turn = (prepared.turn + 1) % messages.length;
  const message = (messages[prepared.turn] ??= encodeAnswer(query, { ...answer, answers: rotated(answer.answers, prepared.turn) }));
  const copy = Buffer.from(message);
  bytes.copy(copy, 0, 0, 2);
  return copy;
}

function rotated(records: readonly ResourceRecord[], turn: number): readonly ResourceRecord[] {
  const first = firstAddress(records);
  const addresses = records.slice(first);
  return [...records.slice(0, first), ...addresses.slice(turn), ...addresses.slice(0, turn)];
}

function firstAddress(records: readonly ResourceRecord[]): number {
  const first = records.findIndex(({ type }) => type === TYPE.A || type === TYPE.AAAA);
  return first === -1 ? records.length : first;
}
