import { constants } from 'node:os';
import { Socket } from 'node:net';
import {
  DatagramReceiver,
  openPackets,
  openTransparentDatagrams,
  sendPacket,
  signalArrivals,
  type Family,
  type ReceivedDatagram,
} from '../../../platform/datagrams.ts';
import { addressBytes, capturePort, packetMark, privateNetworkAddresses as addresses } from '../addresses.ts';
import { FrameKind, FrameReader, associationAddresses, frameHeaderSize, writeFrame, type DatagramFrame } from '../datagram-frames.ts';
import { largestPacket, writeDatagramPacket, writeUnreachablePacket } from './packets.ts';

export interface CarriedDatagramsOptions {
  readonly ipv6: boolean;
  /** The pipe to kpctl, of frames as `datagram-frames.ts` says. */
  readonly descriptor: number;
}

/** Asked of the kernel for what arrives while this process does something else; net.core.rmem_max is the limit for an ordinary user. */
const receiveBuffer = 8 * 1024 * 1024;
/** How many bytes may wait for kpctl: then nothing is taken any more, and the kernel drops what its buffer does not hold. */
const mostWaiting = 8 * 1024 * 1024;
/** Datagrams taken with one system call, and calls before others have their turn. */
const batch = 16;
const turn = 32;

/**
 * Takes COMMAND's datagrams from the transparent listeners and passes them to kpctl, and sends what kpctl answers as packets of its own making:
 * a socket bound to the destination would take that port from COMMAND, which may itself listen on the wildcard. Works only
 * when the kernel says that something has come (SIGURG, which is ignored by default), since Node can neither read control messages nor wait
 * for a descriptor that it does not know.
 */
export function carryDatagrams({ ipv6, descriptor }: CarriedDatagramsOptions): void {
  const channel = new Socket({ fd: descriptor });
  const sender = new PacketSender();
  const reader = new FrameReader();
  channel.on('data', (chunk) => {
    for (const frame of reader.read(chunk)) sender.send(frame);
  });
  // kpctl is gone: the end of its IPC channel ends this process.
  channel.on('error', () => undefined);

  const families: readonly Family[] = ipv6 ? [4, 6] : [4];
  const listeners = families.map((family) => {
    const fd = openTransparentDatagrams(addressBytes(family === 4 ? addresses.capture : addresses.capture6), capturePort, receiveBuffer);
    // Its memory is taken with the first datagram.
    let receiver: DatagramReceiver | undefined;
    return { fd, receive: (): readonly ReceivedDatagram[] => (receiver ??= new DatagramReceiver(fd, family, batch)).receive() };
  });

  let scheduled = false;
  const take = (): void => {
    scheduled = false;
    let more = true;
    for (let round = 0; more && round < turn && channel.writableLength < mostWaiting; round += 1) {
      more = false;
      for (const listener of listeners) {
        const datagrams = listener.receive();
        if (datagrams.length > 0) channel.write(framesOf(datagrams));
        more ||= datagrams.length === batch;
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

function framesOf(datagrams: readonly ReceivedDatagram[]): Buffer {
  const length = datagrams.reduce((total, { payload }) => total + frameHeaderSize + payload.length, 0);
  const frames = Buffer.allocUnsafeSlow(length);
  let offset = 0;
  for (const datagram of datagrams) offset = writeFrame(frames, offset, datagram, datagram.payload);
  return frames;
}

/** Sends answers into the network. */
class PacketSender {
  readonly #sockets = new Map<Family, number>();
  readonly #packet = Buffer.alloc(largestPacket);

  /** One that cannot be sent is dropped, as the network would. */
  send(frame: DatagramFrame): void {
    const association = associationAddresses(frame.association);
    const length = this.#write(frame, association);
    const family = association.source.length === 4 ? 4 : 6;
    const fd = this.#sockets.get(family) ?? openPackets(family, packetMark);
    this.#sockets.set(family, fd);
    sendPacket(fd, this.#packet, length, association.source);
  }

  #write(frame: DatagramFrame, association: ReturnType<typeof associationAddresses>): number {
    if (frame.kind === FrameKind.portUnreachable || frame.kind === FrameKind.hostUnreachable) {
      return writeUnreachablePacket(this.#packet, association, frame.kind);
    }
    return writeDatagramPacket(this.#packet, association, frame.payload);
  }
}
