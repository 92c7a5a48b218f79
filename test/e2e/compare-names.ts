/**
 * Asks two name servers the same and prints, as JSON, how many questions there were and where the answers differ: what only the first and
 * only the second says, codes and records, but for TTLs and order. Questions come as JSON on stdin.
 *
 *     node compare-names.ts SERVER:PORT OTHER:PORT < questions.json
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { decodeAnswers, encodeQuery } from '../../src/simulator/dns/message.ts';

const PARALLEL = 8;
const questionSchema = z.array(z.object({ name: z.string(), type: z.number() }));
type Question = z.infer<typeof questionSchema>[number];

let ids = 0;

class Server {
  readonly #host: string;
  readonly #port: number;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (message: Buffer) => void>();

  private constructor(host: string, port: number, socket: Socket) {
    this.#host = host;
    this.#port = port;
    this.#socket = socket;
    socket.on('message', (message) => this.#waiting.get(message.readUInt16BE(0))?.(message));
    socket.on('error', () => {});
  }

  static async at(name: string): Promise<Server> {
    const [host = '', port = ''] = name.split(':');
    const socket = createSocket('udp4');
    socket.connect(Number(port), host);
    await once(socket, 'connect');
    return new Server(host, Number(port), socket);
  }

  /** Code and records; by TCP where the answer says that it is cut. */
  async ask({ name, type }: Question): Promise<readonly string[]> {
    ids = (ids + 1) & 0xffff;
    const query = encodeQuery(ids, name, type);
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.#waiting.set(ids, resolve);
    const send = (): void => this.#socket.send(query);
    send();
    const again = setInterval(send, 2000);
    const late = setTimeout(reject, 10_000, new Error(`${this.#host} does not answer ${name} ${type}`));
    try {
      const message = await promise;
      return shown((message.readUInt8(2) & 2) === 0 ? message : await this.#askByTcp(query));
    } finally {
      clearInterval(again);
      clearTimeout(late);
      this.#waiting.delete(query.readUInt16BE(0));
    }
  }

  close(): void {
    this.#socket.close();
  }

  async #askByTcp(query: Buffer): Promise<Buffer> {
    const socket = connect(this.#port, this.#host);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length);
    socket.write(Buffer.concat([length, query]));
    let received = Buffer.alloc(0);
    for await (const chunk of socket) {
      received = Buffer.concat([received, Buffer.from(chunk)]);
      if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) break;
    }
    socket.destroy();
    return received.subarray(2);
  }
}

function shown(message: Buffer): readonly string[] {
  const { rcode, answers } = decodeAnswers(message);
  const records = answers.map((answer) => {
    const { name, type } = answer;
    const data = Object.entries(answer).filter(
      ([key, value]) => value !== undefined && !['name', 'type', 'class', 'ttl', 'serial'].includes(key),
    );
    return `${name} ${type} ${JSON.stringify(Object.fromEntries(data))}`.toLowerCase();
  });
  return [`rcode ${rcode}`, ...records];
}

const [first = '', second = ''] = process.argv.slice(2);
const questions = questionSchema.parse(JSON.parse(await text(process.stdin)));
const [one, other] = [await Server.at(first), await Server.at(second)];
const differences: { readonly question: string; readonly first: readonly string[]; readonly second: readonly string[] }[] = [];
let records = 0;
const left = questions.entries();
async function work(): Promise<void> {
  for (const [, question] of left) {
    const [ours, theirs] = await Promise.all([one.ask(question), other.ask(question)]);
    records += theirs.length - 1;
    const first = ours.filter((record) => !theirs.includes(record));
    const second = theirs.filter((record) => !ours.includes(record));
    if (first.length > 0 || second.length > 0 || ours.length !== theirs.length)
      differences.push({ question: `${question.name} ${question.type}`, first, second });
  }
}
await Promise.all(Array.from({ length: PARALLEL }, work));
one.close();
other.close();
process.stdout.write(`${JSON.stringify({ questions: questions.length, records, differences })}\n`);
