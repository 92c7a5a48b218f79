import { Socket as DatagramSocket } from 'node:dgram';
import { Server, Socket } from 'node:net';
import { adoptRedirect } from '../../interceptor/redirect.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import { descriptorOf } from '../../platform/libc.ts';
import { CapturedDatagrams, type CapturedCounters } from '../datagrams/captured.ts';
import { holdUntilHeard } from './held-events.ts';
import { receivedFailure, toAgentSchema, type FromAgent, type ToAgent } from './messages.ts';
import type { AppliedNames, CapturedNetworks, MachineNetwork, MachineNetworkOptions, NamesPlan } from './types.ts';

/** The pipe of datagrams, as the helper starts the agent. */
const datagramPipe = 4;

/** Tells the front something, by way of the helper, while there is a front. For JSON only. */
export function report(message: unknown): void {
  send({ type: 'report', message });
}

/**
 * Has the helper join this machine: called in the agent, once. Resolves when the networks are captured and the machine's programs ask us for names.
 * Rejects with a Failure, and nothing has changed then.
 */
export async function joinMachine(options: MachineNetworkOptions, { signal }: AbortOptions = {}): Promise<MachineNetwork> {
  if (!process.connected) throw lostFailure('it was never there: the agent is started by "kpctl up" only');
  signal?.throwIfAborted();
  const joined = new JoinedMachine(options);
  const abort = (): void => void joined.close();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await joined.ready;
    return joined;
  } catch (error) {
    // The helper has undone what it had begun, and stays for what the agent has to report.
    await joined.release();
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

class JoinedMachine implements MachineNetwork {
  readonly dnsUdp: DatagramSocket[] = [];
  readonly dnsTcp: Server[] = [];
  readonly ready: Promise<void>;
  readonly lost: Promise<Failure>;
  readonly #options: MachineNetworkOptions;
  readonly #flows: Server[] = [];
  readonly #setUp = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<Failure>();
  readonly #gone = Promise.withResolvers<void>();
  readonly #changes = new Map<number, PromiseWithResolvers<void>>();
  readonly #datagrams: CapturedDatagrams;
  readonly #ports: number[] = [];
  #names: AppliedNames = { kind: 'resolv-conf', servers: [], search: [] };
  #warnings: readonly string[] = [];
  #nextId = 0;
  #why = '';
  #closing: Promise<void> | undefined;

  constructor(options: MachineNetworkOptions) {
    this.#options = options;
    this.ready = this.#setUp.promise;
    this.lost = this.#over.promise;
    this.#datagrams = new CapturedDatagrams({
      pipe: new Socket({ fd: datagramPipe }),
      pid: process.pid,
      ports: this.#ports,
      onAssociation: options.onAssociation,
    });
    process.on('message', this.#receive);
    process.on('disconnect', this.#disconnected);
    send({ type: 'set-up', networks: copyOf(options), names: copyOfPlan(options.names) });
  }

  get names(): AppliedNames {
    return this.#names;
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  get datagrams(): CapturedCounters {
    return this.#datagrams.counters;
  }

  async setNetworks(networks: CapturedNetworks): Promise<void> {
    await this.#change((id) => ({ type: 'set-networks', id, networks: copyOf(networks) }));
  }

  async setNames(plan: NamesPlan): Promise<void> {
    await this.#change((id) => ({ type: 'set-names', id, names: copyOfPlan(plan) }));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    // The helper undoes everything, and then closes the channel.
    send({ type: 'close' });
    if (process.connected) await this.#gone.promise;
    await this.release();
  }

  /** Lets go of what this process has. */
  async release(): Promise<void> {
    process.off('message', this.#receive);
    process.off('disconnect', this.#disconnected);
    await this.#datagrams.close();
    for (const listener of [...this.#flows, ...this.dnsTcp, ...this.dnsUdp]) if (descriptorOf(listener) !== undefined) listener.close();
  }

  async #change(request: (id: number) => FromAgent): Promise<void> {
    if (!process.connected || this.#closing !== undefined) throw lostFailure(this.#why);
    const id = this.#nextId;
    this.#nextId += 1;
    const change = Promise.withResolvers<void>();
    this.#changes.set(id, change);
    send(request(id));
    await change.promise;
  }

  readonly #receive = (value: unknown, handle: unknown): void => {
    const message: ToAgent = toAgentSchema.parse(value);
    switch (message.type) {
      case 'listener':
        this.#keep(message.purpose, handle);
        break;
      case 'ready':
        this.#names = message.names;
        this.#warnings = message.warnings;
        this.#ports.push(...message.datagramPorts);
        this.#setUp.resolve();
        break;
      case 'not-ready':
        this.#setUp.reject(receivedFailure(message.failure));
        break;
      case 'changed': {
        const change = this.#changes.get(message.id);
        this.#changes.delete(message.id);
        if (message.failure === undefined) change?.resolve();
        else change?.reject(receivedFailure(message.failure));
        break;
      }
      case 'names-changed':
        this.#names = message.names;
        this.#options.onNamesChanged(message.names);
        break;
      case 'ending':
        this.#why = message.message;
        break;
    }
  };

  readonly #disconnected = (): void => {
    const failure = lostFailure(this.#why);
    this.#setUp.reject(failure);
    for (const change of this.#changes.values()) change.reject(failure);
    this.#changes.clear();
    if (this.#closing === undefined) this.#over.resolve(failure);
    this.#gone.resolve();
  };

  #keep(purpose: 'flows' | 'dns-tcp' | 'dns-udp', handle: unknown): void {
    const { onFlow, log } = this.#options;
    if (purpose === 'flows' && handle instanceof Server) {
      adoptRedirect(handle, { onFlow, log });
      this.#flows.push(handle);
    } else if (purpose === 'dns-tcp' && handle instanceof Server) {
      // `Server` takes it as an option only when it is made.
      Object.assign(handle, { allowHalfOpen: true });
      holdUntilHeard(handle, 'connection');
      this.dnsTcp.push(handle);
    } else if (purpose === 'dns-udp' && handle instanceof DatagramSocket) {
      holdUntilHeard(handle, 'message');
      this.dnsUdp.push(handle);
    }
    if (handle instanceof Server || handle instanceof DatagramSocket) {
      handle.on('error', (error: Error) => log.warn({ err: error, purpose }, 'a listener of the machine'));
    }
  }
}

function send(message: FromAgent): void {
  if (process.connected) process.send?.(message, undefined, {}, () => undefined);
}

function copyOf({ capture, never }: CapturedNetworks): { capture: string[]; never: string[] } {
  return { capture: [...capture], never: [...never] };
}

function copyOfPlan({ domain, search, namespaces, networks }: NamesPlan): Extract<FromAgent, { type: 'set-names' }>['names'] {
  return { domain, search: [...search], namespaces: [...namespaces], networks: [...networks] };
}

function lostFailure(why: string): Failure {
  return new Failure('HELPER_LOST', `the helper of kpctl up has ended${why === '' ? '' : `: ${why}`}`, {
    ...(why === '' && { likely: 'it was killed; what it had changed is undone by the next kpctl command' }),
    remedy: 'run "sudo kpctl up" again',
  });
}
