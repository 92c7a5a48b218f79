import { formatEndpoint } from '../../forwarder/dial.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import {
  privateNetworkAddresses,
  startPrivateNetwork,
  type PrivateNetwork,
  type PrivateNetworkOptions,
} from '../../simulator/network/index.ts';
import type { Terminal } from '../terminal.ts';

/** What becomes of COMMAND's traffic. */
export type Carrying = Required<Pick<PrivateNetworkOptions, 'onFlow' | 'onAssociation' | 'onPortsChanged'>>;

/** A private network that is made while nobody knows yet where its traffic will go: there is none before COMMAND runs. */
export class EarlyNetwork implements Closeable {
  readonly network: Promise<PrivateNetwork>;
  readonly #givingUp = new AbortController();
  #carrying: Carrying | undefined;

  constructor({ terminal, log }: { readonly terminal: Terminal; readonly log: Logger }, { signal }: Required<AbortOptions>) {
    const { dns } = privateNetworkAddresses;
    this.network = startPrivateNetwork(
      {
        onFlow: (flow) => this.#now.onFlow(flow),
        onAssociation: (flow) => this.#now.onAssociation(flow),
        onPortsChanged: (ports) => this.#now.onPortsChanged(ports),
        onDatagramRefused: (destination) => {
          terminal.warn(`UDP to ${formatEndpoint(destination)} was refused: names are answered at ${dns}, not over IPv6`);
        },
        onPortUnavailable: ({ port, code }) => {
          terminal.warn(`port ${port} of the command is not reachable on this machine's 127.0.0.1: ${portProblem(code)}`);
        },
        log,
      },
      { signal: AbortSignal.any([signal, this.#givingUp.signal]) },
    );
    // Whoever waits for it is told; nobody does when something else has failed before.
    this.network.catch(() => undefined);
  }

  /** Before COMMAND is started. */
  carry(carrying: Carrying): void {
    this.#carrying = carrying;
  }

  async close(): Promise<void> {
    this.#givingUp.abort();
    const network = await this.network.catch(() => undefined);
    await network?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #now(): Carrying {
    if (this.#carrying === undefined) throw new Error('there is traffic before there is a command');
    return this.#carrying;
  }
}

function portProblem(code: string): string {
  if (code === 'EADDRINUSE') return 'another program listens there (EADDRINUSE)';
  if (code === 'EACCES') return 'an ordinary user may not listen below 1024 (EACCES)';
  return code;
}
