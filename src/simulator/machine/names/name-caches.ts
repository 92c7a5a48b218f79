import { existsSync } from 'node:fs';
import { attempt } from './run.ts';

/** Where the C library's cache of names listens (nscd(8)). */
const sockets = ['/run/nscd/socket', '/var/run/nscd/socket'] as const;

/** Has the C library's cache forget what it was told before the change; where it does not run, nothing. */
export async function forgetNameCaches(): Promise<void> {
  if (sockets.some((path) => existsSync(path))) await attempt('nscd', ['--invalidate=hosts']);
}
