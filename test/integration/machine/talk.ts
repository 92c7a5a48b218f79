import type { Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { z } from 'zod';
import type { Namespace, Outcome } from '../../harness/namespaces.ts';
import { controlPort, type Scenario } from './scenario.ts';

const answerSchema = z.tuple([z.instanceof(Buffer), z.object({ address: z.string(), port: z.int() })]);

/** How long an answer may take, in milliseconds. */
const PATIENCE = 5000;

/** A connection, line by line. */
export class Talk {
  readonly socket: Socket;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    this.#reader = createInterface({ input: socket });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  static async open(from: Namespace, host: string, port = 80): Promise<Talk> {
    return new Talk(await from.connect({ host, port }));
  }

  /** The next line; '' when the connection has ended, in whichever way. */
  async line(): Promise<string> {
    const ended = { done: true, value: undefined } as const;
    const next = await within(
      this.#lines.next().catch(() => ended),
      'a line',
    );
    return next.done === true ? '' : next.value;
  }

  async echo(text: string): Promise<string> {
    this.socket.write(`${text}\n`);
    return await this.line();
  }
}

/** What a captured connection is told: where it wanted to go, and from where. */
export async function greeting(from: Namespace, host: string, port = 80): Promise<string> {
  const talk = await Talk.open(from, host, port);
  const line = await talk.line();
  talk.socket.destroy();
  return line;
}

/** The same by a process of its own, with another user or group. */
export async function greetingAs(from: Namespace, privileges: readonly string[], host: string, port = 80): Promise<Outcome> {
  const script = `exec 3<>/dev/tcp/${host}/${port} && read -r line <&3 && echo "$line"`;
  return await from.attempt('setpriv', [...privileges, '--clear-groups', '--', 'bash', '--norc', '-c', script]);
}

/** Sends a datagram and answers what comes back: the text, and who it is from. */
export async function ask(socket: DatagramSocket, host: string, port: number, text: string | Buffer): Promise<string> {
  const answer = once(socket, 'message');
  socket.send(text, port, host);
  const [payload, { address, port: from }] = answerSchema.parse(await within(answer, 'an answer'));
  return `${payload.length > 1000 ? payload.length : payload.toString()} (${address} ${from})`;
}

/** Has the agent capture other networks. */
export async function setNetworks(from: Namespace, networks: Scenario): Promise<string> {
  const talk = await Talk.open(from, '10.99.0.1', controlPort);
  const answer = await talk.echo(JSON.stringify(networks));
  talk.socket.destroy();
  return answer;
}

export async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`${what} did not come`)), PATIENCE);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
