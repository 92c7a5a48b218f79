import { networkInterfaces } from 'node:os';
import { isIPv6 } from 'node:net';
import type { ClaimTable, Tenure } from '../claims/claim-table.ts';
import type { ClaimTarget } from '../claims/messages.ts';
import { AssociationTable, type AssociationTableCounters, type DatagramFlow, type EntryEnd } from '../forwarder/association-table.ts';
import { TransparentUdpListener } from '../interceptor/transparent-udp.ts';
import type { SwitchedInterceptor } from '../interceptor/types.ts';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Endpoint, TunnelAssociation } from '../tunnel/types.ts';

/** How the UDP of one captured port is taken to whoever claims it. */
export interface UdpCaptureOptions {
  readonly table: Pick<ClaimTable, 'decide'>;
  /** The app's port, which the callers send to. */
  readonly port: number;
  /** Where the rules send what they capture of it. */
  readonly listenerPort: number;
  readonly log: Logger;
  /** 60 s without a datagram in either direction ends an association. */
  readonly idleMilliseconds?: number;
  /** Associations at once; 1024. The longest idle makes room for a new one. */
  readonly maximum?: number;
}

/** What a captured port has seen; for the metrics. */
export interface UdpCaptureCounters extends AssociationTableCounters {
  /** Associations at present. */
  readonly associations: number;
  /** Answers that could not be sent to their callers. */
  readonly unsent: number;
}

/**
 * The UDP of one captured port: as long as it is claimed, each caller's datagrams go to the session that holds the claim, on an association
 * of its own, and the answers back. While the holder is away they are dropped and counted: a caller that waits sends again, and what is
 * late is of no use. When the claim ends, so do its associations, and the kernel takes the datagrams to the app.
 */
export class UdpCapture implements SwitchedInterceptor {
  readonly description: string;
  readonly #options: UdpCaptureOptions;
  readonly #target: ClaimTarget;
  readonly #listener: TransparentUdpListener;
  readonly #associations: AssociationTable<Tenure>;
  readonly #addresses = new Map<'IPv4' | 'IPv6', string>();

  constructor(options: UdpCaptureOptions) {
    const { port, listenerPort, log, idleMilliseconds, maximum } = options;
    this.#options = options;
    this.#target = { protocol: 'udp', port };
    this.#listener = new TransparentUdpListener({
      port: listenerPort,
      onDatagram: (payload, source) => this.#captured(payload, source),
      log,
    });
    this.#associations = new AssociationTable<Tenure>({
      open: (tenure, flow) => this.#open(tenure, flow),
      answer: (payload, flow) => void this.#listener.send(payload, flow.source),
      ended: (tenure, flow, end) => this.#ended(tenure, flow, end),
      ...(idleMilliseconds === undefined ? {} : { idleMilliseconds }),
      ...(maximum === undefined ? {} : { maximum }),
    });
    this.description = this.#listener.description;
  }

  /** The app's. */
  get port(): number {
    return this.#options.port;
  }

  get counters(): UdpCaptureCounters {
    return { ...this.#associations.counters, associations: this.#associations.size, unsent: this.#listener.unsent };
  }

  /** Resolves when the port's datagrams come here. Rejects with the system's error. */
  async open(): Promise<void> {
    // Addresses of a pod do not change while it lives, but it may not have had them all when it began.
    this.#addresses.clear();
    await this.#listener.open();
  }

  /** New datagrams are the app's from now on. Resolves when those before have been passed on, or it was opened again. */
  async release(): Promise<void> {
    await this.#listener.release();
    if (!this.#listener.listening) this.#associations.endAll();
  }

  async close(): Promise<void> {
    await this.#listener.close();
    this.#associations.endAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #captured(payload: Buffer, source: Endpoint): void {
    const decision = this.#options.table.decide(this.#target);
    const flow = { source, destination: { address: this.#addressFor(source), port: this.#options.port } };
    if (decision.kind === 'session') this.#associations.send(decision.tenure, flow, payload);
    // It was on its way here when the claim ended: its association takes it as the last one, if it is there.
    else if (decision.kind === 'app') this.#associations.sendExisting(flow, payload);
    else this.#associations.countDropped();
  }

  #open(tenure: Tenure, { source, destination }: DatagramFlow): TunnelAssociation | undefined {
    try {
      const association = tenure.session.openAssociation({ kind: 'claimed', destination, source });
      tenure.activeFlows += 1;
      return association;
    } catch (error) {
      const { name } = tenure.session.peer;
      this.#options.log.debug({ port: destination.port, holder: name, reason: messageOf(error) }, 'a datagram was dropped');
      return undefined;
    }
  }

  #ended(tenure: Tenure, { source, destination }: DatagramFlow, end: EntryEnd): void {
    tenure.activeFlows -= 1;
    if (end.kind !== 'refused') return;
    const { name } = tenure.session.peer;
    this.#options.log.info({ port: destination.port, holder: name, source, message: end.message }, 'the laptop refused datagrams');
  }

  /**
   * The pod's address of the caller's family. A wildcard socket does not tell where a datagram was sent to, and answers leave from the
   * pod's first address in any case: the answer to another one could not be right.
   */
  #addressFor({ address }: Endpoint): string {
    const family = isIPv6(address) ? 'IPv6' : 'IPv4';
    let own = this.#addresses.get(family);
    if (own === undefined) this.#addresses.set(family, (own = podAddress(family)));
    return own;
  }
}

/** The first address of this network namespace that others can reach; the unspecified one when there is none. */
function podAddress(family: 'IPv4' | 'IPv6'): string {
  const own = Object.values(networkInterfaces())
    .flat()
    .find((entry) => entry?.family === family && !entry.internal && !entry.address.startsWith('fe80:'));
  return own?.address ?? (family === 'IPv6' ? '::' : '0.0.0.0');
}
