import { constants } from 'node:os';
import type { Socket } from 'node:net';
import { DatagramReceiver, openPackets, sendPacket, signalArrivals, type Family, type ReceivedDatagram } from '../../platform/datagrams.ts';
import { packetMark } from './addresses.ts';
import { FrameKind, FrameReader, associationAddresses, associationOf, frameHeaderSize, writeFrame, type DatagramFrame } from './frames.ts';
import { fragmentsOf, largestPacket, largestPayload, writeDatagramPacket, writeUnreachablePacket } from './packets.ts';

/** A socket of `openTransparentDatagrams`. */
export interface DatagramListener {
  readonly fd: number;
  readonly family: Family;
  /** What was really sent, where the kernel's rules have changed the datagram's ends. Undefined: it is dropped. */
  readonly original?: (datagram: ReceivedDatagram) => ReceivedDatagram | undefined;
}

export interface CarriedDatagramsOptions {
  /** The pipe to who answers, of frames as `frames.ts` says. Its end and its errors are the caller's to handle. */
  readonly channel: Socket;
  readonly listeners: readonly DatagramListener[];
  /** Called with the association of every datagram that is taken. */
  readonly onTaken?: (association: Buffer) => void;
  /** Whether what comes for this association may be sent. Default: all. */
  readonly mayAnswer?: (association: Buffer) => boolean;
}

/** How many bytes may wait in the pipe: then nothing is taken any more, and the kernel drops what its buffer does not hold. */
const mostWaiting = 8 * 1024 * 1024;
/** Datagrams taken with one system call, and calls before others have their turn. */
const batch = 16;
const turn = 32;

/**
 * Takes datagrams from transparent listeners and passes them on, and sends what comes back as packets of its own making, with the mark `packetMark`:
 * a socket bound to the destination would take that port from programs here, which may themselves listen on the wildcard. Works only
 * when the kernel says that something has come (SIGURG, which is ignored by default), since Node can neither read control messages nor wait
 * for a descriptor that it does not know. Until the process ends.
 */
export function carryDatagrams({ channel, listeners, onTaken, mayAnswer }: CarriedDatagramsOptions): void {
  const sender = new PacketSender();
  const reader = new FrameReader();
  channel.on('data', (chunk) => {
    try {
      for (const frame of reader.read(chunk)) if (mayAnswer?.(frame.association) !== false) sender.send(frame);
    } catch (error) {
      channel.destroy(error instanceof Error ? error : undefined);
    }
  });

  const receivers = listeners.map(({ fd, family, original }) => {
    // Its memory is taken with the first datagram.
    let receiver: DatagramReceiver | undefined;
    return {
      original,
      receive: (): readonly ReceivedDatagram[] => (receiver ??= new DatagramReceiver(fd, family, batch)).receive(),
    };
  });

  let scheduled = false;
  const take = (): void => {
    scheduled = false;
    let more = true;
    for (let round = 0; more && round < turn && channel.writableLength < mostWaiting; round += 1) {
      more = false;
      for (const { receive, original } of receivers) {
        const received = receive();
        more ||= received.length === batch;
        const datagrams = original === undefined ? received : received.map(original).filter((datagram) => datagram !== undefined);
        if (datagrams.length > 0) channel.write(framesOf(datagrams, onTaken));
      }
    }
    if (more) schedule();
  };
  const schedule = (): void => {
    // Too much waits: `drain` comes when all of it is gone.
    if (scheduled || channel.writableLength >= mostWaiting) return;
    scheduled = true;
    setImmediate(take);
  };
  channel.on('drain', schedule);
  process.on('SIGURG', () => {
    if (!scheduled && channel.writableLength < mostWaiting) take();
  });
  for (const { fd } of listeners) signalArrivals(fd, constants.signals.SIGURG);
}

function framesOf(datagrams: readonly ReceivedDatagram[], onTaken: CarriedDatagramsOptions['onTaken']): Buffer {
  const length = datagrams.reduce((total, { payload }) => total + frameHeaderSize + payload.length, 0);
  const frames = Buffer.allocUnsafeSlow(length);
  let offset = 0;
  for (const datagram of datagrams) {
    const end = writeFrame(frames, offset, datagram, datagram.payload);
    onTaken?.(associationOf(frames, offset));
    offset = end;
  }
  return frames;
}

/** Sends answers into the network. */
class PacketSender {
  readonly #sockets = new Map<Family, number>();
  readonly #packet = Buffer.alloc(largestPacket);
  #fragmented = 0;

  /** One that cannot be sent is dropped, as the network would. */
  send(frame: DatagramFrame): void {
    const association = associationAddresses(frame.association);
    const family = association.source.length === 4 ? 4 : 6;
    if (frame.payload.length > largestPayload[family]) return;
    const length = this.#write(frame, association);
    const fd = this.#sockets.get(family) ?? openPackets(family, packetMark);
    this.#sockets.set(family, fd);
    if (sendPacket(fd, this.#packet, length, association.source)) return;
    // Larger than its way can carry: the kernel does not say how much that is.
    this.#fragmented = (this.#fragmented % 0xffff) + 1;
    for (const fragment of fragmentsOf(this.#packet, length, this.#fragmented))
      sendPacket(fd, fragment, fragment.length, association.source);
  }

  #write(frame: DatagramFrame, association: ReturnType<typeof associationAddresses>): number {
    if (frame.kind === FrameKind.portUnreachable || frame.kind === FrameKind.hostUnreachable) {
      return writeUnreachablePacket(this.#packet, association, frame.kind);
    }
    return writeDatagramPacket(this.#packet, association, frame.payload);
  }
}
