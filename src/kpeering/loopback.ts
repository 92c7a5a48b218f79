import { networkInterfaces } from 'node:os';

/** The loopback addresses that this network namespace has: `::1` is missing where IPv6 is off. */
export function loopbackAddresses(): readonly string[] {
  const six = Object.values(networkInterfaces())
    .flat()
    .some((entry) => entry?.address === '::1');
  return six ? ['127.0.0.1', '::1'] : ['127.0.0.1'];
}
