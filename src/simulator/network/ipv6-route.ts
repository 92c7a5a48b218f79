import { readFileSync } from 'node:fs';

/** Whether this machine has a default route for IPv6 (`/proc/net/ipv6_route`: destination, prefix length, …, flags, device). */
export function hasIpv6DefaultRoute(routes: string = readRoutes()): boolean {
  const rejecting = 0x0200;
  return routes.split('\n').some((line) => {
    const fields = line.trim().split(/\s+/);
    const isDefault = fields[0] === '0'.repeat(32) && fields[1] === '00';
    return isDefault && fields[9] !== 'lo' && (Number.parseInt(fields[8] ?? '0', 16) & rejecting) === 0;
  });
}

function readRoutes(): string {
  try {
    return readFileSync('/proc/net/ipv6_route', 'utf8');
  } catch {
    return '';
  }
}
