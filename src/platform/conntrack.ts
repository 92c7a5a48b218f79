import { AF_INET, AF_INET6, AF_NETLINK, SOCK_NONBLOCK, SOCK_RAW, openSocket, receiveBytes, sendBytes } from './libc.ts';
import type { AddressBytes } from './datagrams.ts';

/** include/uapi/linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h, and linux/netlink.h. */
const NETLINK_NETFILTER = 12;
const GET_CONNECTION = (1 << 8) | 1;
const NLMSG_ERROR = 2;
const REQUEST = 1;
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const Attribute = { original: 1, reply: 2 } as const;
const TuplePart = { addresses: 1, protocol: 2 } as const;
const AddressPart = { source4: 1, destination4: 2, source6: 3, destination6: 4 } as const;
const ProtocolPart = { number: 1, sourcePort: 2, destinationPort: 3 } as const;
const HEADER_BYTES = 16;
/** struct nfgenmsg */
const GENERIC_BYTES = 4;
const IPPROTO_UDP = 17;
const ANSWER_BYTES = 4096;

/** One direction of a connection. */
export interface Tuple {
  readonly source: AddressBytes;
  readonly sourcePort: number;
  readonly destination: AddressBytes;
  readonly destinationPort: number;
}

/** Asks the kernel about connections that it tracks (nf_conntrack_netlink). Needs CAP_NET_ADMIN. Until the process ends. */
export class Conntrack {
  readonly #fd: number;
  readonly #answer = Buffer.alloc(ANSWER_BYTES);

  /** Throws SystemCallError where the kernel has no netfilter. */
  constructor() {
    this.#fd = openSocket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_NETFILTER);
  }

  /**
   * How the UDP datagram that arrived as `translated` was sent: with its ends before the kernel's rules changed them. Undefined when the kernel
   * does not know it (any more), or cannot tell.
   */
  originalOf(translated: Tuple): Tuple | undefined {
    try {
      sendBytes(this.#fd, question(translated));
      const length = receiveBytes(this.#fd, this.#answer);
      if (this.#answer.readUInt16LE(4) === NLMSG_ERROR) return undefined;
      const original = attributes(this.#answer.subarray(HEADER_BYTES + GENERIC_BYTES, length)).get(Attribute.original);
      return original === undefined ? undefined : readTuple(original);
    } catch {
      return undefined;
    }
  }
}

/** The answer to what arrived goes the other way: it is by this direction that the connection is looked up. */
function question({ source, sourcePort, destination, destinationPort }: Tuple): Buffer {
  const four = source.length === 4;
  const tuple = attribute(
    Attribute.reply | NESTED,
    Buffer.concat([
      attribute(
        TuplePart.addresses | NESTED,
        Buffer.concat([
          attribute(four ? AddressPart.source4 : AddressPart.source6, destination),
          attribute(four ? AddressPart.destination4 : AddressPart.destination6, source),
        ]),
      ),
      attribute(
        TuplePart.protocol | NESTED,
        Buffer.concat([
          attribute(ProtocolPart.number, Uint8Array.of(IPPROTO_UDP)),
          attribute(ProtocolPart.sourcePort, port(destinationPort)),
          attribute(ProtocolPart.destinationPort, port(sourcePort)),
        ]),
      ),
    ]),
  );
  const message = Buffer.alloc(HEADER_BYTES + GENERIC_BYTES + tuple.length);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(GET_CONNECTION, 4);
  message.writeUInt16LE(REQUEST, 6);
  message.writeUInt8(four ? AF_INET : AF_INET6, HEADER_BYTES);
  tuple.copy(message, HEADER_BYTES + GENERIC_BYTES);
  return message;
}

function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 + ((value.length + 3) & ~3));
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, 4);
  return bytes;
}

function port(number: number): Uint8Array {
  return Uint8Array.of(number >> 8, number & 0xff);
}

function attributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes.readUInt16LE(at);
    if (length < 4) break;
    found.set(bytes.readUInt16LE(at + 2) & TYPE_MASK, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

function readTuple(bytes: Buffer): Tuple | undefined {
  const parts = attributes(bytes);
  const addresses = attributes(parts.get(TuplePart.addresses) ?? Buffer.alloc(0));
  const protocol = attributes(parts.get(TuplePart.protocol) ?? Buffer.alloc(0));
  const source = addresses.get(AddressPart.source4) ?? addresses.get(AddressPart.source6);
  const destination = addresses.get(AddressPart.destination4) ?? addresses.get(AddressPart.destination6);
  const [sourcePort, destinationPort] = [protocol.get(ProtocolPart.sourcePort), protocol.get(ProtocolPart.destinationPort)];
  if (source === undefined || destination === undefined || sourcePort === undefined || destinationPort === undefined) return undefined;
  return { source, sourcePort: sourcePort.readUInt16BE(0), destination, destinationPort: destinationPort.readUInt16BE(0) };
}
