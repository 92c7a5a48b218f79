import type { AbortOptions } from '../../platform/abort.ts';
import type { Query } from './message.ts';
import { lifetimeOf, type Lifetime } from './message-walk.ts';
import type { Upstream } from './upstream.ts';

interface Kept extends Lifetime {
  readonly message: Buffer;
  /** `performance.now()`. */
  readonly since: number;
}

export interface CacheOptions {
  /** Most answers that are kept; the one that was used least recently goes first. */
  readonly entries?: number;
  /** Most octets of them together. */
  readonly bytes?: number;
  /** Milliseconds of a clock that only rises. */
  readonly now?: () => number;
}

/** The longest that an answer is kept, whatever its TTL says: a day, in seconds. */
const LONGEST = 86_400;
const OPT_SIZE = 11;

/**
 * Keeps an upstream's answers as octets for as long as they hold, and asks it once for queries that are equal and
 * under way. Two queries are equal if all their octets are, but for the id and the case of the name: what a client
 * says about DNSSEC, sizes or checking gets an answer of its own. One with EDNS options (a cookie, a client's subnet)
 * is between its client and the server: it is passed on, and its answer not kept. TTLs are counted down; the rest of
 * an answer is as it came.
 */
export class CachedUpstream {
  readonly #upstream: Upstream;
  readonly #entries: number;
  readonly #bytes: number;
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();
  readonly #flights = new Map<string, Promise<Buffer>>();
  #revision: string | undefined;
  #size = 0;

  constructor(upstream: Upstream, options: CacheOptions = {}) {
    this.#upstream = upstream;
    this.#entries = options.entries ?? 4096;
    this.#bytes = options.bytes ?? 4 * 1024 * 1024;
    this.#now = options.now ?? (() => performance.now());
  }

  /** The answer, at once where it is kept. Rejects as the upstream does. */
  ask(query: Query, abort: AbortOptions = {}): Buffer | Promise<Buffer> {
    this.#forgetIfOthersAreAsked();
    const key = keyOf(query);
    const kept = this.#find(key);
    if (kept !== undefined) return addressed(agedCopy(kept, this.#now()), query);
    return this.#join(key, query, abort);
  }

  async #join(key: string, query: Query, abort: AbortOptions): Promise<Buffer> {
    const flight = this.#flights.get(key);
    if (flight !== undefined) return addressed(Buffer.from(await flight), query);
    const own = this.#fly(key, query, abort);
    this.#flights.set(key, own);
    try {
      return Buffer.from(await own);
    } finally {
      if (this.#flights.get(key) === own) this.#flights.delete(key);
    }
  }

  async #fly(key: string, query: Query, abort: AbortOptions): Promise<Buffer> {
    const revision = this.#revision;
    const message = await this.#upstream.query(query.bytes, query.transport, abort);
    if (hasNoOptions(query) && revision === this.#revision) this.#keep(key, message);
    return message;
  }

  #keep(key: string, message: Buffer): void {
    const lifetime = lifetimeIn(message);
    if (lifetime === undefined || message.length > this.#bytes) return;
    this.#forget(key);
    this.#kept.set(key, { ...lifetime, message: Buffer.from(message), since: this.#now() });
    this.#size += message.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#entries && this.#size <= this.#bytes) break;
      this.#forget(oldest);
    }
  }

  #find(key: string): Kept | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    if (this.#now() - kept.since >= Math.min(kept.seconds, LONGEST) * 1000) {
      this.#forget(key);
      return undefined;
    }
    // The last of the map is the one that was used last.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  #forget(key: string): void {
    this.#size -= this.#kept.get(key)?.message.length ?? 0;
    this.#kept.delete(key);
  }

  #forgetIfOthersAreAsked(): void {
    const { revision } = this.#upstream;
    if (revision === this.#revision) return;
    this.#revision = revision;
    this.#kept.clear();
    this.#size = 0;
    this.#flights.clear();
  }
}

function keyOf({ bytes, questionEnd, transport }: Query): string {
  const nameEnd = questionEnd - 4;
  const name = bytes.toString('latin1', 12, nameEnd).toLowerCase();
  return `${transport}${bytes.toString('latin1', 2, 12)}${name}${bytes.toString('latin1', nameEnd)}`;
}

/** Whether there is nothing behind the question but an OPT record without options. */
export function hasNoOptions({ bytes, questionEnd, edns }: Query): boolean {
  return bytes.length === questionEnd + (edns === undefined ? 0 : OPT_SIZE);
}

function lifetimeIn(message: Buffer): Lifetime | undefined {
  try {
    return lifetimeOf(message);
  } catch {
    // It is malformed: the client's to judge, but not kept.
    return undefined;
  }
}

function agedCopy({ message, since, ttls }: Kept, now: number): Buffer {
  const copy = Buffer.from(message);
  const age = Math.floor((now - since) / 1000);
  if (age > 0) for (const offset of ttls) copy.writeUInt32BE(Math.max(0, copy.readUInt32BE(offset) - age), offset);
  return copy;
}

/** Makes an answer to an equal query the answer to this one: its id, and its name as it was written. */
function addressed(message: Buffer, query: Query): Buffer {
  query.bytes.copy(message, 0, 0, 2);
  if (message.readUInt16BE(4) === 1) query.bytes.copy(message, 12, 12, query.questionEnd);
  return message;
}
