import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { SOL_SOCKET, SO_MARK, descriptorOf, setSocketOption } from '../../platform/libc.ts';
import type { Endpoint } from '../../tunnel/types.ts';
import { answersQuery, withId } from './matching.ts';

interface Pending {
  readonly query: Buffer;
  readonly answered: (answer: Buffer) => void;
  readonly failed: (error: Error) => void;
}

/** A query that was sent. */
export interface Asked {
  /** Sends it once more. */
  readonly again: () => void;
  /** Takes it back; to be called in the end. */
  readonly release: () => void;
}

/** A socket is used for so many queries, and so many milliseconds: then comes another source port (RFC 5452). */
const MOST_QUERIES = 64;
const LONGEST = 1000;

/** One server, asked by UDP. Each query has an id that nobody else knows, and shares its socket with those of the same moment: making one costs more than a query. */
export class UdpExchange {
  readonly #server: Endpoint;
  readonly #mark: number | undefined;
  #socket: SharedSocket | undefined;

  /** `mark`: SO_MARK of the queries. */
  constructor(server: Endpoint, mark: number | undefined) {
    this.#server = server;
    this.#mark = mark;
  }

  /** Sends a query; the callbacks get what becomes of it. An answer has the id of `message`; what answers another query is passed over. */
  ask(message: Buffer, answered: (answer: Buffer) => void, failed: (error: Error) => void): Asked {
    if (this.#socket?.usable !== true) this.#socket = new SharedSocket(this.#server, this.#mark);
    return this.#socket.ask(message, answered, failed);
  }
}

class SharedSocket {
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  /** Queries that wait for the socket. */
  #waiting: Pending[] | undefined = [];
  #uses = 0;
  #retired = false;

  constructor({ address, port }: Endpoint, mark: number | undefined) {
    // Who waits for an answer has a timer; an idle socket is not to hold the process.
    this.#socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4').unref();
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('message', (answer) => this.#receive(answer));
    this.#socket.once('connect', () => this.#connected(mark));
    // Without a callback, which would be given the error of a server to which there is no route: so it is an `error` event.
    this.#socket.connect(port, address);
    setTimeout(() => this.#retire(), LONGEST).unref();
  }

  get usable(): boolean {
    return !this.#retired;
  }

  ask(message: Buffer, answered: (answer: Buffer) => void, failed: (error: Error) => void): Asked {
    let id = randomInt(0x1_0000);
    while (this.#pending.has(id)) id = randomInt(0x1_0000);
    const pending: Pending = {
      query: withId(message, id),
      answered: (answer) => {
        message.copy(answer, 0, 0, 2);
        answered(answer);
      },
      failed,
    };
    this.#pending.set(id, pending);
    this.#send(pending);
    this.#uses += 1;
    if (this.#uses >= MOST_QUERIES) this.#retire();
    return {
      again: () => this.#send(pending),
      release: () => {
        this.#pending.delete(id);
        this.#closeIfDone();
      },
    };
  }

  #connected(mark: number | undefined): void {
    try {
      const fd = mark === undefined ? undefined : descriptorOf(this.#socket);
      if (fd !== undefined && mark !== undefined) setSocketOption(fd, SOL_SOCKET, SO_MARK, mark);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const pending of waiting) this.#send(pending);
  }

  #send(pending: Pending): void {
    if (this.#waiting !== undefined) {
      this.#waiting.push(pending);
      return;
    }
    this.#socket.send(pending.query, (error) => {
      if (error !== null) pending.failed(error);
    });
  }

  #receive(answer: Buffer): void {
    const pending = answer.length < 12 ? undefined : this.#pending.get(answer.readUInt16BE(0));
    if (pending !== undefined && answersQuery(answer, pending.query)) pending.answered(answer);
  }

  /** ICMP says that nobody listens there, or there is no way there: that holds for all. */
  #fail(error: Error): void {
    this.#retire();
    for (const { failed } of this.#pending.values()) failed(error);
  }

  #retire(): void {
    this.#retired = true;
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (!this.#retired || this.#pending.size > 0) return;
    try {
      this.#socket.close();
    } catch {
      // It is closed already.
    }
  }
}
