import { formatEndpoint } from '../../forwarder/dial.ts';
import type { ClaimTarget } from '../../claims/messages.ts';

/** What makes two targets the same one: `tcp 8080`, `udp 53`, `tcp 10.96.0.7:5432`. */
export function targetKey({ protocol, port, address }: ClaimTarget): string {
  return `${protocol} ${address === undefined ? port : formatEndpoint({ address, port })}`;
}

/** As tables have it: `8080`, `53/udp`, `10.96.0.7:5432` (the workload's own calls of that address). */
export function shortTarget({ protocol, port, address }: ClaimTarget): string {
  const number = address === undefined ? String(port) : formatEndpoint({ address, port });
  return protocol === 'udp' ? `${number}/udp` : number;
}

/** As sentences have it: `port 8080`, `port 53/udp`, `destination 10.96.0.7:5432`. */
export function targetLabel(target: ClaimTarget): string {
  return `${target.address === undefined ? 'port' : 'destination'} ${shortTarget(target)}`;
}
