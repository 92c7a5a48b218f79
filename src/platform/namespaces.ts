import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { SystemCallError } from './libc.ts';

/**
 * mount(2), capset(2) and prctl(2) through koffi, for the process that sets a private namespace up.
 * Constants: include/uapi/linux/mount.h, capability.h, prctl.h.
 */
export const MountFlag = { readOnly: 1, noSetuid: 2, noDevices: 4, remount: 32, bind: 4096, move: 8192, recursive: 16_384 } as const;

/** Bit numbers of capabilities(7). */
export const Capability = { netAdmin: 12, netRaw: 13, sysAdmin: 21 } as const;

const CAPABILITY_VERSION_3 = 0x20080522;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_RAISE = 2;

interface Calls {
  mount(source: string, target: string, type: string | null, flags: number, data: string | null): number;
  capget(header: Buffer, data: Buffer): number;
  capset(header: Buffer, data: Buffer): number;
  prctl(option: number, second: number, third: number, fourth: number, fifth: number): number;
}

let loaded: Calls | undefined;

function calls(): Calls {
  if (loaded !== undefined) return loaded;
  const library = koffi.load(null);
  const mount = library.func('int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)');
  const capget = library.func('int capget(uint8_t *header, _Out_ uint8_t *data)');
  const capset = library.func('int capset(uint8_t *header, const uint8_t *data)');
  const prctl = library.func('int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)');
  loaded = { mount, capget, capset, prctl };
  return loaded;
}

function check(call: string, result: number): void {
  if (result >= 0) return;
  const errno = koffi.errno();
  const error = new SystemCallError(call, errno);
  error.message = `${call}: ${getSystemErrorName(-errno)}`;
  throw error;
}

/** mount(2); `flags` are of {@link MountFlag}, added. Throws a {@link SystemCallError} that names the target. */
export function mount(source: string, target: string, type: string | undefined, flags: number, data?: string): void {
  check(`mount ${target}`, calls().mount(source, target, type ?? null, flags, data ?? null));
}

/**
 * Sets the calling thread's inheritable and ambient capabilities to exactly `bits` ({@link Capability}), which must
 * be permitted ones. What is not in the list is not passed on to programs that this thread starts from now on,
 * unless they run as root (capabilities(7), "Transformation of capabilities during execve()").
 */
export function passOnCapabilities(bits: readonly number[]): void {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(CAPABILITY_VERSION_3, 0);
  // struct __user_cap_data_struct[2]: effective, permitted, inheritable; low words, then high words.
  const data = Buffer.alloc(24);
  check('capget', calls().capget(header, data));
  const inheritable: [number, number] = [0, 0];
  for (const bit of bits) {
    if (bit < 32) inheritable[0] += 2 ** bit;
    else inheritable[1] += 2 ** (bit - 32);
  }
  data.writeUInt32LE(inheritable[0], 8);
  data.writeUInt32LE(inheritable[1], 20);
  // The kernel lowers the ambient set to what stays inheritable.
  check('capset', calls().capset(header, data));
  for (const bit of bits) check('prctl', calls().prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0));
}
