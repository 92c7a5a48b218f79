import type { Socket } from 'node:net';
import { spliceStream } from '../forwarder/splice.ts';
import type { Flow } from '../interceptor/types.ts';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { OpenError } from '../tunnel/errors.ts';
import type { TunnelStream } from '../tunnel/types.ts';
import { keyOf, type ClaimTable, type Tenure } from './claim-table.ts';
import type { ClaimTarget } from './messages.ts';

/** What became of a flow, for tests and the log. */
export type FlowEnd =
  /** It was handed to the app, and has ended. */
  | 'app'
  /** It was carried to the laptop, and has ended. */
  | 'laptop'
  /** The laptop could not reach its process: the caller was reset. */
  | 'refused'
  /** The caller went away before it was decided, or the router was closed. */
  | 'gone';

export interface FlowRouterOptions {
  readonly table: ClaimTable;
  /** Passes a flow on to the app in the pod, and resolves when it has ended; the socket is its from the call on. Never rejects. */
  readonly toApp: (flow: Flow) => Promise<void>;
  /** Flows that may wait at once for a laptop that is away; further ones go to the app. 1024. */
  readonly maximumWaiting?: number;
  readonly log: Logger;
}

const DEFAULT_MAXIMUM_WAITING = 1024;

/** Takes every captured flow to where the claims say: the laptop that holds the port, or the app. */
export class FlowRouter {
  readonly #options: FlowRouterOptions;
  readonly #maximumWaiting: number;
  readonly #sockets = new Set<Socket>();
  readonly #withApp = new Set<Flow>();
  #waiting = 0;
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(options: FlowRouterOptions) {
    this.#options = options;
    this.#maximumWaiting = options.maximumWaiting ?? DEFAULT_MAXIMUM_WAITING;
  }

  /** Flows that have not ended yet. */
  get activeFlows(): number {
    return this.#sockets.size;
  }

  /** Flows of which this is the destination that were handed to the app, and have not ended. */
  withApp(target: ClaimTarget): Flow[] {
    const key = keyOf(target);
    return [...this.#withApp].filter((flow) => keyOf(targetOf(flow)) === key);
  }

  /** Carries the flow until it has ended. Never rejects for what happens on the network. */
  async route(flow: Flow): Promise<FlowEnd> {
    const { socket } = flow;
    this.#sockets.add(socket);
    try {
      // The usual case: no watcher, no promise but the app's own.
      if (this.#options.table.decide(targetOf(flow)).kind === 'app') return await this.#passOn(flow);
      return await this.#routeClaimed(flow);
    } finally {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) {
        this.#idle?.resolve();
        this.#idle = undefined;
      }
    }
  }

  /** Resolves when no flow is left (at once when there is none). */
  async whenIdle(): Promise<void> {
    if (this.#sockets.size === 0) return;
    this.#idle ??= Promise.withResolvers();
    await this.#idle.promise;
  }

  /** Resets every flow that is left. */
  resetAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async #passOn(flow: Flow): Promise<FlowEnd> {
    this.#withApp.add(flow);
    try {
      await this.#options.toApp(flow);
    } finally {
      this.#withApp.delete(flow);
    }
    return 'app';
  }

  async #routeClaimed(flow: Flow): Promise<FlowEnd> {
    const caller = new WaitingCaller(flow.socket);
    const { table } = this.#options;
    const target = targetOf(flow);
    while (!caller.signal.aborted) {
      const decision = table.decide(target);
      if (decision.kind === 'session') {
        const end = await this.#offer(flow, decision.tenure, caller);
        if (end !== undefined) return end;
        continue;
      }
      if (decision.kind === 'app' || this.#waiting >= this.#maximumWaiting) {
        if (decision.kind === 'wait') this.#options.log.warn({ waiting: this.#waiting }, 'too many flows wait: the app answers this one');
        caller.handOver();
        return this.#passOn(flow);
      }
      this.#waiting += 1;
      try {
        await Promise.race([decision.changed, caller.gone]);
      } finally {
        this.#waiting -= 1;
      }
    }
    return 'gone';
  }

  /** Dial before accept: the laptop has reached its process before a byte is passed to anybody. Undefined: the session was lost meanwhile, decide anew. */
  async #offer(flow: Flow, tenure: Tenure, caller: WaitingCaller): Promise<FlowEnd | undefined> {
    const { socket, source, destination, outbound } = flow;
    const { session } = tenure;
    let stream: TunnelStream;
    try {
      const request = { kind: 'claimed', destination, source, ...(outbound === undefined ? {} : { outbound }) } as const;
      // No early data: where the session is lost now the flow is offered anew, or to the app, and nobody may have had a byte of it before.
      stream = await session.open(request, { signal: caller.signal });
    } catch (error) {
      if (caller.signal.aborted) return 'gone';
      if (error instanceof OpenError && error.errorClass === 'lost') {
        // The table hears of the end of a session by the same promise, and was there first.
        await session.ended;
        return undefined;
      }
      const message = messageOf(error);
      this.#options.log.info({ destination, holder: session.peer.name, message }, 'the laptop refused a flow: its caller is reset');
      caller.handOver();
      socket.on('error', ignored).resetAndDestroy();
      return 'refused';
    }
    if (caller.signal.aborted) {
      stream.reset();
      return 'gone';
    }
    const spliced = spliceStream(socket, stream);
    caller.handOver();
    tenure.activeFlows += 1;
    try {
      await spliced;
    } finally {
      tenure.activeFlows -= 1;
    }
    return 'laptop';
  }
}

/** What must be claimed for this flow to go to a laptop. */
export function targetOf({ destination: { address, port }, outbound }: Pick<Flow, 'destination' | 'outbound'>): ClaimTarget {
  return outbound === undefined ? { protocol: 'tcp', port } : { protocol: 'tcp', port, address };
}

/**
 * Notices that a caller goes away while its flow waits. Its socket is read up to the stream's own buffer (64 KiB), because
 * the kernel tells of a reset only to those who read; what was read is delivered first when the flow goes on.
 */
class WaitingCaller {
  readonly gone: Promise<void>;
  readonly #socket: Socket;
  readonly #controller = new AbortController();
  readonly #left: () => void;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.#left = () => {
      this.#controller.abort(new Error('the caller went away'));
      resolve();
    };
    socket.on('error', ignored).once('close', this.#left);
    if (socket.destroyed) this.#left();
    else socket.read(0);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The socket is its next owner's. The handler of its errors stays: it does nothing. */
  handOver(): void {
    this.#socket.off('close', this.#left);
  }
}

/**
 * A caller may half-close before its flow is spliced, when nobody listens for 'end' yet: tells those who do now. Call
 * it directly after splicing.
 */
export function repeatEnd(socket: Socket): void {
  if (socket.readableEnded) socket.emit('end');
}

function ignored(): void {}
