import { closeSync, openSync } from 'node:fs';
import { SystemCallError, loadKoffi } from './libc.ts';

/** include/uapi/linux/if_tun.h, for x86-64 and arm64. */
const TUNSETIFF = 0x400454ca;
const IFF_TUN = 1;
const IFF_NO_PI = 0x1000;
/** sizeof(struct ifreq); the name has 16 bytes of it. */
const REQUEST_BYTES = 40;
const NAME_BYTES = 16;

let ioctl: ((fd: number, request: number, argument: Buffer) => number) | undefined;

/**
 * Makes a network device of layer 3 that is gone, with its addresses and routes, when the descriptor is closed or this process ends (tun(4) of the
 * kernel's documentation). Nobody reads what is sent to it. Throws the system's error: EBUSY (the name is taken), ENOENT and ENODEV (no
 * tun here), EPERM.
 */
export function openTun(name: string): number {
  const fd = openSync('/dev/net/tun', 'r+');
  ioctl ??= loadKoffi().load(null).func('int ioctl(int fd, unsigned long request, uint8_t *argument)');
  const request = Buffer.alloc(REQUEST_BYTES);
  request.write(name, 0, NAME_BYTES - 1, 'latin1');
  request.writeUInt16LE(IFF_TUN | IFF_NO_PI, NAME_BYTES);
  if (ioctl(fd, TUNSETIFF, request) === 0) return fd;
  const error = new SystemCallError('ioctl TUNSETIFF', loadKoffi().errno());
  closeSync(fd);
  throw error;
}
