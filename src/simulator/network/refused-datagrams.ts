import { readFileSync } from 'node:fs';
import type { Endpoint } from '../../tunnel/types.ts';

/** Destinations in nft's text of a set of type `ipv4_addr . inet_service` or `ipv6_addr . inet_service`. */
export function parseRefused(text: string): Endpoint[] {
  const elements = [...text.matchAll(/([0-9a-f.:]*[.:][0-9a-f.:]*) \. (\d+)/g)];
  return elements.map(([, address = '', port]) => ({ address, port: Number(port) }));
}

/** The count of ICMP unreachables sent, from the text of `/proc/net/snmp` and `/proc/net/snmp6`. */
export function unreachablesSent(snmp: string, snmp6: string): string {
  const [names = '', values = ''] = snmp.split('\n').filter((line) => line.startsWith('Icmp:'));
  const column = names.split(' ').indexOf('OutDestUnreachs');
  return `${values.split(' ')[column]} ${/^Icmp6OutDestUnreachs\s+(\d+)/m.exec(snmp6)?.[1]}`;
}

export interface RefusedDatagramsOptions {
  /** A process in the network. */
  readonly pid: number;
  /** nft's text of the sets: `InsideProcess.listRefused`. */
  readonly list: () => Promise<string>;
  /** Called once per destination. */
  readonly onRefused: (destination: Endpoint) => void;
}

/**
 * Notices destinations whose datagrams the network's rules have refused. The rules remember them; they are asked
 * only after the network's own count of unreachables has moved, which costs 30 µs to see.
 */
export class RefusedDatagrams {
  readonly #options: RefusedDatagramsOptions;
  readonly #known = new Set<string>();
  #sent = '';
  #asking: Promise<void> | undefined;

  constructor(options: RefusedDatagramsOptions) {
    this.#options = options;
    this.#sent = this.#count();
  }

  /** Looks once. Never rejects. */
  async check(): Promise<void> {
    const sent = this.#count();
    if (sent === this.#sent) return this.#asking;
    // Not before the last answer is in: then this count is looked at again.
    if (this.#asking !== undefined) return this.#asking;
    this.#sent = sent;
    this.#asking = this.#ask();
    await this.#asking;
    this.#asking = undefined;
  }

  async #ask(): Promise<void> {
    for (const destination of parseRefused(await this.#options.list())) {
      const key = `${destination.address} ${destination.port}`;
      if (this.#known.has(key)) continue;
      this.#known.add(key);
      this.#options.onRefused(destination);
    }
  }

  #count(): string {
    const folder = `/proc/${this.#options.pid}/net`;
    return unreachablesSent(readIfThere(`${folder}/snmp`), readIfThere(`${folder}/snmp6`));
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
