import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { privateNetworkAddresses as addresses } from './addresses.ts';

/** Listening TCP ports of a network, each with the addresses at which it can be reached from inside, best first. */
export type ListeningPorts = ReadonlyMap<number, readonly string[]>;

/**
 * Listening ports from the text of `/proc/net/tcp` and `/proc/net/tcp6` (proc_net_tcp(5)): addresses are 32-bit words in host order
 * (little-endian), state 0A is LISTEN. Only what is bound to loopback, to the network's own address or to the
 * wildcard counts; kpctl's own listeners do not.
 */
export function parseListeningPorts(tcp: string, tcp6: string): ListeningPorts {
  const ports = new Map<number, string[]>();
  for (const line of `${tcp}\n${tcp6}`.split('\n')) {
    const match = /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /.exec(line);
    if (match === null) continue;
    const port = Number.parseInt(match[2] ?? '', 16);
    for (const address of reachableAt(match[1] ?? '', port)) {
      const known = ports.get(port) ?? [];
      ports.set(port, known.includes(address) ? known : [...known, address]);
    }
  }
  return ports;
}

const loopback6 = '::1';
/** Addresses as the files write them. */
const written = { wildcard4: '00000000', loopback4: '0100007F', wildcard6: '0'.repeat(32), loopback6: `${'0'.repeat(24)}01000000` };
const mappedPrefix = `${'0'.repeat(16)}FFFF0000`;

function reachableAt(hex: string, port: number): readonly string[] {
  if (hex.startsWith(mappedPrefix)) return reachableAt(hex.slice(mappedPrefix.length), port);
  if (hex === written.wildcard4 || hex === written.loopback4) return ['127.0.0.1'];
  // Dual-stack or not cannot be seen here: the caller tries both.
  if (hex === written.wildcard6) return ['127.0.0.1', loopback6];
  if (hex === written.loopback6) return [loopback6];
  if (hex === hexOf(addresses.own)) return [addresses.own];
  return [];
}

function hexOf(address: string): string {
  const bytes = address.split('.').toReversed();
  return bytes.map((byte) => Number(byte).toString(16).padStart(2, '0').toUpperCase()).join('');
}

/** How long a change that leaves the number of sockets as it was may go unnoticed, in milliseconds. */
const fullCheckInterval = 2000;

/**
 * Watches the listening ports of the network that process `pid` is in. Reading `/proc/net/tcp` walks the machine's
 * whole table of connections (over 1 ms), so it is read only when the count of sockets in `/proc/net/sockstat` (some 30 µs) has changed,
 * and every 2 s in case two changes cancel out.
 */
export class ListeningPortsWatch {
  readonly #folder: string;
  readonly #onChange: (ports: ListeningPorts) => void;
  #counts = '';
  #checked = 0;
  #current = '';
  #reading = false;

  /** `onChange` is called with every reading that may differ from the one before. */
  constructor(pid: number, onChange: (ports: ListeningPorts) => void) {
    this.#folder = `/proc/${pid}/net`;
    this.#onChange = onChange;
  }

  /** Looks once; cheap when nothing has changed. Never rejects: a network that is gone has no ports. */
  async check(): Promise<void> {
    if (this.#reading) return;
    const counts = this.#countSockets();
    if (counts === this.#counts && performance.now() - this.#checked < fullCheckInterval) return;
    this.#reading = true;
    this.#counts = counts;
    this.#checked = performance.now();
    const [tcp, tcp6] = await Promise.all([readIfThere(`${this.#folder}/tcp`), readIfThere(`${this.#folder}/tcp6`)]);
    this.#reading = false;
    const ports = parseListeningPorts(tcp, tcp6);
    const current = JSON.stringify([...ports]);
    if (current === this.#current) return;
    this.#current = current;
    this.#onChange(ports);
  }

  /** The `inuse` counts of the network's own TCP sockets, the only numbers in sockstat that are not the machine's. */
  #countSockets(): string {
    try {
      const text = `${readFileSync(`${this.#folder}/sockstat`, 'utf8')}\n${existing(`${this.#folder}/sockstat6`)}`;
      return [...text.matchAll(/^TCP6?: inuse (\d+)/gm)].map((match) => match[1]).join(' ');
    } catch {
      return '';
    }
  }
}

function existing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
