import { readFileSync } from 'node:fs';
import { findProgram } from '../../src/platform/programs.ts';

/** e_phoff, e_phentsize and e_phnum of an ELF-64 header, and the type of a segment that names a dynamic linker (elf(5)). */
const PROGRAM_HEADERS = 0x20;
const HEADER_SIZE = 0x36;
const HEADER_COUNT = 0x38;
const PT_INTERP = 3;

/** The machine's busybox, if it is linked statically: no library of ours or the system's could redirect what it does. */
export function staticBusybox(): string {
  const install = 'install it, on Debian or Ubuntu: apt-get install busybox-static';
  const path = findProgram('busybox');
  if (path === undefined) throw new Error(`busybox is missing; ${install}`);
  if (!isStatic(readFileSync(path))) throw new Error(`${path} is linked dynamically; ${install}`);
  return path;
}

function isStatic(elf: Buffer): boolean {
  if (elf.readUInt32BE() !== 0x7f_45_4c_46 || elf[4] !== 2) throw new Error('expected an ELF-64 file');
  const start = Number(elf.readBigUInt64LE(PROGRAM_HEADERS));
  const size = elf.readUInt16LE(HEADER_SIZE);
  const types = Array.from({ length: elf.readUInt16LE(HEADER_COUNT) }, (_, index) => elf.readUInt32LE(start + index * size));
  return !types.includes(PT_INTERP);
}
