import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { ExecutionContext } from 'ava';
import { answerAssociation, type AssociationResult } from '../../../src/forwarder/index.ts';
import type { OpenRequest } from '../../../src/tunnel/index.ts';
import { nodeAddress, nodeAddress6, podAddress, podAddress6, type Laptop, type Pod } from './pod.ts';

export const families = [
  { family: 'IPv4', caller: nodeAddress, to: podAddress, any: '0.0.0.0' },
  { family: 'IPv6', caller: nodeAddress6, to: podAddress6, any: '::' },
] as const;

export function udp(port: number) {
  return { protocol: 'udp', port } as const;
}

/** Sends each datagram back, behind the name of the one who does. */
export function answerAs(socket: Socket, name: string): void {
  socket.on('message', (payload, { port, address }) => socket.send(Buffer.concat([Buffer.from(`${name}:`), payload]), port, address));
}

/** An app in the pod. */
export async function app(pod: Pod, port: number, host = '0.0.0.0'): Promise<void> {
  answerAs(await pod.namespace.datagrams({ host, port }), 'app');
}

/** A laptop's own UDP server, on this machine. */
export async function localServer(t: ExecutionContext, answer: (socket: Socket) => void): Promise<Socket> {
  const socket = createSocket('udp4');
  answer(socket);
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  return socket;
}

/** A laptop whose associations all go to one server of its own. */
export async function laptopWith(
  pod: Pod,
  server: Socket,
  requests: OpenRequest[] = [],
  results: Promise<AssociationResult>[] = [],
): Promise<Laptop> {
  const { address, port } = server.address();
  return pod.laptop(
    undefined,
    {},
    {
      incomingAssociation: (incoming) => {
        requests.push(incoming.request);
        results.push(answerAssociation(incoming, { address, port }));
      },
    },
  );
}

/** A caller outside the pod, who takes answers from nobody but whom it asked. */
export class Caller {
  readonly #socket: Socket;
  readonly #to: string;
  readonly #answers: Buffer[] = [];
  #changed: (() => void) | undefined;

  constructor(socket: Socket, to: string, port: number) {
    this.#socket = socket;
    this.#to = to;
    socket.on('message', (payload, from: RemoteInfo) => {
      if (from.address !== to || from.port !== port) return;
      this.#answers.push(payload);
      this.#changed?.();
    });
  }

  get port(): number {
    return this.#socket.address().port;
  }

  send(payload: Buffer | string, port: number): void {
    this.#socket.send(payload, port, this.#to);
  }

  async answer(): Promise<Buffer> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer !== undefined) return answer;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#changed = resolve;
      await promise;
    }
  }
}

export async function caller(pod: Pod, port: number, { caller: host, to }: (typeof families)[number] = families[0]): Promise<Caller> {
  return new Caller(await pod.node.datagrams({ host }), to, port);
}

/** Asks on one socket, again and again as clients of UDP do; the answer to this question, not to one before. */
export async function ask(from: Caller, port: number, text: string): Promise<string> {
  from.send(text, port);
  const again = setInterval(() => from.send(text, port), 1000);
  try {
    for (;;) {
      const answer = String(await from.answer());
      if (answer.endsWith(`:${text}`)) return answer;
    }
  } finally {
    clearInterval(again);
  }
}

/** Asks until somebody answers so: for what changes a moment after the request that changes it was answered. */
export async function askUntil(from: Caller, port: number, text: string, expected: string): Promise<void> {
  while ((await ask(from, port, text)) !== expected);
}
