import { isIP, type Socket } from 'node:net';
import { DialError, dialTcp, formatEndpoint } from '../../../forwarder/index.ts';
import { messageOf } from '../../../platform/errors.ts';
import { canonicalAddress } from '../../../simulator/dns/records.ts';
import { OpenError, type DialErrorClass, type Endpoint, type Session, type TunnelStream } from '../../../tunnel/index.ts';
import type { FlowEntry, FlowTable } from '../../flows/flow-table.ts';
import type { Notices } from '../../links/notices.ts';
import { dialByProxy, dialProxy, ownProxyFor } from './own-proxy.ts';
import { NameError, type ProxyNames } from './names.ts';

export interface DiallerOptions {
  readonly names: ProxyNames;
  /** Whether an address belongs to the cluster: a Service's or a pod's. */
  readonly isCluster: (address: string) => boolean;
  readonly session: () => Promise<Session>;
  readonly notices: Notices;
  /** Where this machine's own proxy is named, for what is outside of the cluster. */
  readonly environment: NodeJS.ProcessEnv;
  readonly flows?: FlowTable;
}

/** What a program asks the proxy for. */
export interface Wanted {
  /** A name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** `http`: plain HTTP requests are sent on the connection, one of which this machine's own proxy may want to see as such. */
  readonly use: 'http' | 'bytes';
  /** Whose flow it is. */
  readonly source: Endpoint;
  readonly signal: AbortSignal;
}

/** A connection that was made: paused, without an error handler, and the caller's. */
export type Dialled = { readonly flow: FlowEntry | undefined } & (
  | { readonly kind: 'stream'; readonly stream: TunnelStream }
  /** `proxy`: it ends at this machine's own proxy, which takes whole `http:` URLs. */
  | { readonly kind: 'socket'; readonly socket: Socket; readonly proxy?: URL }
);

/** Why a destination was not reached. `name`: it could not be resolved. */
export type RefusalClass = DialErrorClass | 'name' | 'name-timeout' | 'lost' | 'aborted';

/** A destination that was not reached; the message names it. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly refusal: RefusalClass;

  constructor(refusal: RefusalClass, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.refusal = refusal;
  }
}

/** An address more is tried beside one that has not answered for this long (RFC 8305, section 5). */
const NEXT_ADDRESS_MILLISECONDS = 250;

/** Dials what programs ask the proxy for: names and addresses of the cluster through the tunnel, all others from this machine. */
export class Dialler {
  readonly #options: DiallerOptions;

  constructor(options: DiallerOptions) {
    this.#options = options;
  }

  /** The addresses behind a host, and whether they are the cluster's. Rejects with Refusal. For datagrams; `dial` asks by itself. */
  async addressesOf(host: string): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    return await named(async () => {
      const found = await this.#options.names.find(host);
      return found.kind === 'cluster' ? found.addresses : await this.#options.names.here(found.name);
    });
  }

  /** Connects. Rejects with Refusal. */
  async dial(wanted: Wanted): Promise<Dialled> {
    const { names, isCluster, environment } = this.#options;
    const { host, port, use, signal } = wanted;
    let outside = host;
    if (isIP(host) === 0) {
      const found = await named(async () => await names.find(host));
      if (found.kind === 'cluster') return await this.#dialAddresses(wanted, found.addresses);
      outside = found.name;
    } else if (isCluster(host)) return await this.#dialAddresses(wanted, [host]);
    const proxy = ownProxyFor(use === 'http' || port === 80 ? 'http' : 'https', outside, port, environment);
    if (proxy === undefined) {
      return await this.#dialAddresses(wanted, isIP(outside) === 0 ? await named(async () => await names.here(outside)) : [outside]);
    }
    return await refusing(async () =>
      use === 'http' && !proxy.protocol.startsWith('socks')
        ? { kind: 'socket', socket: await dialProxy(proxy, { signal }), proxy, flow: undefined }
        : { kind: 'socket', socket: await dialByProxy(proxy, outside, port, { signal }), flow: undefined },
    );
  }

  /** The first that answers. Those of the cluster one after the other; of the others the next is begun when one is slow, since IPv6 may lead nowhere. */
  async #dialAddresses(wanted: Wanted, addresses: readonly string[]): Promise<Dialled> {
    const inCluster = addresses.filter((address) => this.#options.isCluster(address));
    if (inCluster.length === 0) return await this.#dialHere(wanted, addresses);
    let first: unknown;
    for (const address of inCluster) {
      try {
        return await this.#throughTunnel(wanted, { address: canonicalAddress(address), port: wanted.port });
      } catch (error) {
        first ??= error;
        if (wanted.signal.aborted) break;
      }
    }
    throw first;
  }

  async #throughTunnel({ host, source, signal }: Wanted, destination: Endpoint): Promise<Dialled> {
    const flow = this.#options.flows?.open({ protocol: 'tcp', source, destination });
    try {
      const session = await this.#options.session();
      const stream = await session.open({ kind: 'dial', destination, source }, { signal });
      flow?.opened(session.peer.name);
      return { kind: 'stream', stream, flow };
    } catch (error) {
      const refusal = error instanceof OpenError ? error.errorClass : 'lost';
      flow?.ended(refusal);
      const name = host === destination.address ? formatEndpoint(destination) : `${host} (${formatEndpoint(destination)})`;
      const message = `${name} through the cluster: ${refusal === 'lost' ? '' : `${refusal}: `}${messageOf(error)}`;
      if (refusal !== 'aborted') this.#options.notices.once(formatEndpoint(destination), message);
      throw new Refusal(refusal, message, { cause: error });
    }
  }

  async #dialHere({ port, signal, source }: Wanted, addresses: readonly string[]): Promise<Dialled> {
    const others = new AbortController();
    const either = AbortSignal.any([signal, others.signal]);
    const attempts: Promise<Socket>[] = [];
    const settled = async (): Promise<Socket | undefined> => await Promise.any(attempts).catch(() => undefined);
    for (const [index, address] of addresses.entries()) {
      const attempt = dialTcp({ address, port }, { signal: either, timeoutMilliseconds: 120_000 }); // the kernel's own patience, not ours
      attempts.push(attempt);
      const won = index + 1 === addresses.length ? await settled() : await inTime(attempt, settled);
      if (won === undefined) continue;
      others.abort();
      for (const other of attempts) {
        void other.then(
          (socket) => socket !== won && socket.on('error', () => undefined).destroy(),
          () => undefined,
        );
      }
      const flow = this.#options.flows?.open({ protocol: 'tcp', source, destination: { address, port }, via: 'direct' });
      flow?.opened();
      return { kind: 'socket', socket: won, flow };
    }
    return await refusing(async () => {
      await attempts[0];
      throw new DialError('unreachable', 'there is no address');
    });
  }
}

/** The socket of whichever attempt connects; undefined when the newest one has failed, or has been tried for a while. */
async function inTime(newest: Promise<Socket>, any: () => Promise<Socket | undefined>): Promise<Socket | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), NEXT_ADDRESS_MILLISECONDS);
  try {
    return await Promise.race([newest.catch(() => undefined), any(), promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function named<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof NameError)) throw error;
    throw new Refusal(error.kind === 'unknown' ? 'name' : 'name-timeout', error.message, { cause: error });
  }
}

async function refusing(dial: () => Promise<Dialled>): Promise<Dialled> {
  try {
    return await dial();
  } catch (error) {
    if (error instanceof DialError) throw new Refusal(error.errorClass, error.message, { cause: error });
    throw new Refusal('aborted', messageOf(error), { cause: error });
  }
}
