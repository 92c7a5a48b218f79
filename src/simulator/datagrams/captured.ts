import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { AssociationTable, type AssociationTableCounters, type DatagramFlow, type EntryEnd } from '../../forwarder/index.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { DialErrorClass, TunnelAssociation } from '../../tunnel/types.ts';
import { addressText } from './addresses.ts';
import { FrameKind, FrameReader, associationAddresses, frameHeader, type DatagramFrame } from './frames.ts';

/**
 * Opens what carries an association of COMMAND's, a session's association or another's. When it ends with a refusal COMMAND learns it as an
 * ICMP error; its next datagram opens another.
 */
export type AssociationHandler = (flow: DatagramFlow) => TunnelAssociation;

/** What became of COMMAND's datagrams; `dropped` are those of both directions. */
export interface CapturedCounters extends AssociationTableCounters {
  /** Datagrams that the kernel dropped, since COMMAND sent them faster than they were taken. */
  readonly overrun: number;
}

export interface CapturedDatagramsOptions {
  /** To the process that has the listeners, of frames as `frames.ts` says. */
  readonly pipe: Socket;
  /** A process in the listeners' network. */
  readonly pid: number;
  /** The listeners' ports, to ask the kernel what they have lost. */
  readonly ports: readonly number[];
  readonly onAssociation: AssociationHandler;
}

/** How many bytes of answers may wait for the helper: more than a socket's buffer holds. */
const mostWaiting = 8 * 1024 * 1024;
const nothing = Buffer.alloc(0);

/** What COMMAND learns of a refusal: ECONNREFUSED or EHOSTUNREACH. */
const errorFor = {
  refused: FrameKind.portUnreachable,
  unsupported: FrameKind.portUnreachable,
  denied: FrameKind.portUnreachable,
  failed: FrameKind.hostUnreachable,
  unreachable: FrameKind.hostUnreachable,
  timeout: FrameKind.hostUnreachable,
} as const satisfies Record<DialErrorClass, FrameKind>;

/** Captured datagrams, as they come out of the helper's pipe, and the answers that go into it. */
export class CapturedDatagrams implements Closeable {
  readonly #options: CapturedDatagramsOptions;
  readonly #table: AssociationTable<undefined>;
  /** The table's flows by a frame's bytes and back: to write addresses out once for each flow, not for each datagram. */
  readonly #flows = new Map<string, DatagramFlow>();
  readonly #bytes = new Map<DatagramFlow, Buffer>();
  #unanswered = 0;
  #corked = false;

  constructor(options: CapturedDatagramsOptions) {
    this.#options = options;
    this.#table = new AssociationTable({
      open: (_, flow) => options.onAssociation(flow),
      answer: (payload, flow) => {
        if (!this.#write(FrameKind.datagram, flow, payload)) this.#unanswered += 1;
      },
      ended: (_, flow, end) => this.#ended(flow, end),
    });
    const reader = new FrameReader();
    options.pipe.on('data', (chunk) => {
      for (const frame of reader.read(chunk)) this.#receive(frame);
    });
    // The helper has ended: whoever waits for that is told elsewhere.
    options.pipe.on('error', () => undefined);
  }

  get counters(): CapturedCounters {
    const counters = this.#table.counters;
    return { ...counters, dropped: counters.dropped + this.#unanswered, overrun: overrun(this.#options) };
  }

  async close(): Promise<void> {
    await this.#table.close();
    this.#options.pipe.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #receive({ association, payload }: DatagramFrame): void {
    const key = association.toString('latin1');
    this.#table.send(undefined, this.#flows.get(key) ?? this.#remember(key, association), payload);
  }

  #remember(key: string, association: Buffer): DatagramFlow {
    // A copy: the frame is part of a larger chunk.
    const bytes = Buffer.from(association);
    const { source, sourcePort, destination, destinationPort } = associationAddresses(bytes);
    const flow = {
      source: { address: addressText(source), port: sourcePort },
      destination: { address: addressText(destination), port: destinationPort },
    };
    this.#flows.set(key, flow);
    this.#bytes.set(flow, bytes);
    return flow;
  }

  #ended(flow: DatagramFlow, end: EntryEnd): void {
    if (end.kind === 'refused') this.#write(errorFor[end.errorClass], flow, nothing);
    const bytes = this.#bytes.get(flow);
    this.#bytes.delete(flow);
    if (bytes !== undefined) this.#flows.delete(bytes.toString('latin1'));
  }

  /** False: it was dropped, because too many wait. */
  #write(kind: FrameKind, flow: DatagramFlow, payload: Buffer): boolean {
    const { pipe } = this.#options;
    const association = this.#bytes.get(flow);
    if (association === undefined || pipe.destroyed || pipe.writableLength > mostWaiting) return false;
    if (!this.#corked) {
      // What comes in one turn is written with one system call.
      this.#corked = true;
      pipe.cork();
      setImmediate(() => {
        this.#corked = false;
        pipe.uncork();
      });
    }
    pipe.write(frameHeader(kind, association, payload.length));
    if (payload.length > 0) pipe.write(payload);
    return true;
  }
}

/** What the transparent listeners have lost, from the last column of `/proc/net/udp` (proc_net_udp(5)). */
function overrun({ pid, ports }: CapturedDatagramsOptions): number {
  const port = ports.map((number) => number.toString(16).toUpperCase().padStart(4, '0')).join('|');
  const listener = new RegExp(`^\\s*\\d+: [0-9A-F]+:(?:${port}) .* (\\d+)\\s*$`, 'gm');
  return ['udp', 'udp6'].reduce((total, name) => {
    const lines = [...readIfThere(`/proc/${pid}/net/${name}`).matchAll(listener)];
    return lines.reduce((sum, [, drops]) => sum + Number(drops), total);
  }, 0);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
