import { Socket } from 'node:net';
import { openTransparentDatagrams, type Family } from '../../../platform/datagrams.ts';
import { addressBytes } from '../../datagrams/addresses.ts';
import { carryDatagrams } from '../../datagrams/carry.ts';
import { capturePort, privateNetworkAddresses as addresses } from '../addresses.ts';

/** Asked of the kernel for what arrives while this process does something else; net.core.rmem_max is the limit for an ordinary user. */
const receiveBuffer = 8 * 1024 * 1024;

/** Takes COMMAND's datagrams and sends it the answers; `descriptor` is the pipe to kpctl. */
export function carryDatagramsOfCommand({ ipv6, descriptor }: { readonly ipv6: boolean; readonly descriptor: number }): void {
  const channel = new Socket({ fd: descriptor });
  // kpctl is gone: the end of its IPC channel ends this process.
  channel.on('error', () => undefined);
  const families: readonly Family[] = ipv6 ? [4, 6] : [4];
  const listeners = families.map((family) => {
    const address = addressBytes(family === 4 ? addresses.capture : addresses.capture6);
    return { family, fd: openTransparentDatagrams(address, capturePort, receiveBuffer) };
  });
  carryDatagrams({ channel, listeners });
}
