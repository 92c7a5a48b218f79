import { platform } from 'node:os';
import { findLinuxPrograms } from './linux-programs.ts';
import { findNetstatPrograms } from './netstat-programs.ts';
import type { FindPrograms } from './program.ts';

export type { FindPrograms, Program, Sought } from './program.ts';

/** How programs are found on this system. */
export const findPrograms: FindPrograms = platform() === 'linux' ? findLinuxPrograms : findNetstatPrograms;
