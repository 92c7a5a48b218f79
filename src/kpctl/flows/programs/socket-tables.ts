import { readFileSync } from 'node:fs';
import { canonicalAddress } from '../../../simulator/dns/records.ts';
import type { Endpoint } from '../../../tunnel/index.ts';

/** A socket of /proc/net/tcp and its like (proc_pid_net(5)). */
export interface ListedSocket {
  readonly local: Endpoint;
  /** Port 0: it is connected to nobody. */
  readonly remote: Endpoint;
  readonly uid: number;
  readonly inode: string;
}

/**
 * The sockets of one protocol in a network namespace, both families; those of IPv6 that speak IPv4 have IPv4 addresses. `process`: any process of that
 * namespace, or `self`. Empty where it cannot be read.
 */
export function listedSockets(protocol: 'tcp' | 'udp', process: number | 'self'): ListedSocket[] {
  return [protocol, `${protocol}6`].flatMap((table) => {
    try {
      return parseSocketTable(readFileSync(`/proc/${process}/net/${table}`, 'latin1'));
    } catch {
      return []; // no IPv6, or the process has ended
    }
  });
}

/** Reads a table: `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`, after a line of names. Sockets without an inode (TIME_WAIT) are nobody's. */
export function parseSocketTable(text: string): ListedSocket[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local, remote, , , , , uid, , inode] = line.trim().split(/\s+/);
      if (local === undefined || remote === undefined || inode === undefined || inode === '0') return [];
      return [{ local: endpoint(local), remote: endpoint(remote), uid: Number(uid), inode }];
    });
}

/** `0100007F:1F90`: the address in words of the machine's byte order, the port in hexadecimal. */
function endpoint(text: string): Endpoint {
  const [address = '', port = ''] = text.split(':');
  return { address: addressOf(address), port: Number.parseInt(port, 16) };
}

function addressOf(hex: string): string {
  const octets: number[] = [];
  for (let word = 0; word < hex.length; word += 8) {
    const bytes = Buffer.from(hex.slice(word, word + 8), 'hex');
    octets.push(...(littleEndian ? bytes.toReversed() : bytes));
  }
  if (octets.length === 4) return octets.join('.');
  if (octets.slice(0, 10).every((octet) => octet === 0) && octets[10] === 0xff && octets[11] === 0xff) return octets.slice(12).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((octets[2 * index] ?? 0) * 256 + (octets[2 * index + 1] ?? 0)).toString(16));
  return canonicalAddress(groups.join(':'));
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
