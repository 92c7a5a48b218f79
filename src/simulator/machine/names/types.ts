import type { Socket as DatagramSocket } from 'node:dgram';
import type { Server } from 'node:net';
import type { Logger } from '../../../platform/log.ts';
import type { Closeable } from '../../../platform/owned.ts';
import type { Endpoint } from '../../../tunnel/types.ts';
import type { AppliedNames, Journal, NamesPlan } from '../types.ts';

/** How the machine's programs come to ask us. */
export type NamesKind = AppliedNames['kind'];

/** The machine's own servers and search domains. */
export type OwnNames = Omit<AppliedNames, 'kind'>;

/** The sockets that programs' questions come to. */
export interface NameListeners {
  readonly udp: readonly DatagramSocket[];
  readonly tcp: readonly Server[];
  /** On the loopback, port 53 where nobody else has it. */
  readonly address: Endpoint;
  /** The same for IPv6, on any port; undefined where there is no IPv6. */
  readonly address6: Endpoint | undefined;
}

export interface IntegrationContext {
  readonly journal: Journal;
  readonly listeners: Pick<NameListeners, 'address' | 'address6'>;
  /** A network device of ours that is up and has an address: systemd-resolved asks a device's servers only then. */
  readonly device: string;
  readonly log: Logger;
  /** The machine's own servers or search domains are others now. */
  onOwn(own: OwnNames): void;
}

/** One way to make the machine's programs ask us. */
export interface Integration {
  readonly kind: NamesKind;
  /** Whether this machine is of that kind. Changes nothing. */
  detect(): boolean;
  /** Makes the change, each step journalled before. Rejects when the machine does not take it; then `undo` is to be called. */
  apply(plan: NamesPlan): Promise<OwnNames>;
  update(plan: NamesPlan): Promise<void>;
  /** As before, but for what others have changed meanwhile. May be called at any time, also twice. */
  undo(): Promise<void>;
}

export interface NamesIntegration extends Closeable {
  readonly applied: AppliedNames;
  /** What will not work on this machine, in users' words. */
  readonly warnings: readonly string[];
  update(plan: NamesPlan): Promise<void>;
}
