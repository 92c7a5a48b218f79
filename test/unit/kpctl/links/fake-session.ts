import type { AbortOptions } from '../../../../src/platform/abort.ts';
import { OpenError, RequestError } from '../../../../src/tunnel/index.ts';
import type { OpeningStream, OpenRequest, Session, TunnelStream } from '../../../../src/tunnel/index.ts';
import { opening } from '../../../harness/opening.ts';

/** What the far end answers to a request; a RequestError is thrown at the asker. */
export type AnswerRequest = (method: string, parameters: unknown) => unknown;

/** A session without a transport: requests are answered, and streams opened, by what the test says. */
export class FakeSession implements Session {
  readonly id = '0'.repeat(32);
  readonly peer = { role: 'sidecar', software: '0.1.0', name: 'shop/web-1' } as const;
  readonly ended = new Promise<never>(() => undefined);
  readonly activeStreams = 0;
  readonly lastHeard = 0;
  readonly datagrams = { sent: 0, received: 0, dropped: 0 };
  /** Every request, as `claim {"protocol":"tcp","port":80}`. */
  readonly asked: string[] = [];
  answer: AnswerRequest;
  #open: (request: OpenRequest) => TunnelStream;

  constructor(answer: AnswerRequest, open?: (request: OpenRequest) => TunnelStream) {
    this.answer = answer;
    this.#open =
      open ??
      (() => {
        throw new OpenError('failed', 'not expected');
      });
  }

  async request(method: string, parameters: unknown, options: AbortOptions = {}): Promise<unknown> {
    this.asked.push(`${method} ${JSON.stringify(parameters)}`);
    options.signal?.throwIfAborted();
    return await this.answer(method, parameters);
  }

  beginOpen(request: OpenRequest): OpeningStream {
    return opening(async () => this.open(request))(request);
  }

  async open(request: OpenRequest): Promise<TunnelStream> {
    await Promise.resolve();
    return this.#open(request);
  }

  openAssociation(): never {
    throw new OpenError('unsupported', 'not expected');
  }

  notify(): void {
    throw new RequestError('unknown-method');
  }

  abort(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
