import { getSystemErrorName } from 'node:util';
import { loadKoffi, SystemCallError } from './libc.ts';

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
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const MNT_DETACH = 2;
/** pivot_root(2), which glibc does not have: asm/unistd_64.h, asm-generic/unistd.h. */
const pivotRootNumber: Readonly<Record<string, number>> = { x64: 155, arm64: 41 };

interface Calls {
  mount(source: string, target: string, type: string | null, flags: number, data: string | null): number;
  capget(header: Buffer, data: Buffer): number;
  capset(header: Buffer, data: Buffer): number;
  prctl(option: number, second: number, third: number, fourth: number, fifth: number): number;
  umount2(target: string, flags: number): number;
  syscall(number: number, first: string, second: string): number;
}

let loaded: Calls | undefined;

function calls(): Calls {
  if (loaded !== undefined) return loaded;
  const library = loadKoffi().load(null);
  const mount = library.func('int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)');
  const capget = library.func('int capget(uint8_t *header, _Out_ uint8_t *data)');
  const capset = library.func('int capset(uint8_t *header, const uint8_t *data)');
  const prctl = library.func('int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)');
  const umount2 = library.func('int umount2(const char *target, int flags)');
  const syscall = library.func('long syscall(long number, const char *first, const char *second)');
  loaded = { mount, capget, capset, prctl, umount2, syscall };
  return loaded;
}

function check(call: string, result: number): void {
  if (result >= 0) return;
  const errno = loadKoffi().errno();
  const error = new SystemCallError(call, errno);
  error.message = `${call}: ${getSystemErrorName(-errno)}`;
  throw error;
}

/** mount(2); `flags` are of {@link MountFlag}, added. Throws a {@link SystemCallError} that names the target. */
export function mount(source: string, target: string, type: string | undefined, flags: number, data?: string): void {
  check(`mount ${target}`, calls().mount(source, target, type ?? null, flags, data ?? null));
}

/** Takes a mount away, at once from the tree and for good when nothing in it is open any more (umount2(2), MNT_DETACH). */
export function detach(target: string): void {
  check(`umount ${target}`, calls().umount2(target, MNT_DETACH));
}

/** Makes the mount `newRoot` the root of this mount namespace; the old one appears at `putOld`, a folder in it (pivot_root(2)). */
export function pivotRoot(newRoot: string, putOld: string): void {
  const number = pivotRootNumber[process.arch];
  if (number === undefined) throw new Error(`pivot_root is not known for ${process.arch}`);
  check('pivot_root', calls().syscall(number, newRoot, putOld));
}

/**
 * Empties the calling thread's bounding set, for good: no program that it starts gets a capability from its file, either (capabilities(7),
 * "Capability bounding set"). Needs CAP_SETPCAP.
 */
export function emptyBoundingSet(): void {
  const control = (option: number, bit: number): number => calls().prctl(option, bit, 0, 0, 0);
  for (let bit = 0; control(PR_CAPBSET_READ, bit) >= 0; bit++) check('prctl', control(PR_CAPBSET_DROP, bit));
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
