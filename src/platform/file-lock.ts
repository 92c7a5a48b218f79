import { SystemCallError, loadKoffi } from './libc.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

let flock: ((fd: number, operation: number) => number) | undefined;

/**
 * Locks a file that is open, as flock(2) does: until the descriptor is closed, or this process ends in whichever way. False while another process
 * has it locked. Throws SystemCallError.
 */
export function tryLock(fd: number): boolean {
  flock ??= loadKoffi().load(null).func('int flock(int fd, int operation)');
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const error = new SystemCallError('flock', loadKoffi().errno());
  if (error.code === 'EAGAIN' || error.code === 'EWOULDBLOCK') return false;
  throw error;
}
