import { readFileSync } from 'node:fs';
import { attempt } from './run.ts';

/** Differs after each start of the machine: devices do not outlive one. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** What `ip` says of a device on one line; undefined where there is none. */
export async function describeLink(name: string): Promise<string | undefined> {
  const { code, stdout } = await attempt('ip', ['-o', 'link', 'show', 'dev', name]);
  return code === 0 ? stdout : undefined;
}

/** The device's number, by which systemd-resolved knows it. */
export async function linkIndex(name: string): Promise<string | undefined> {
  return (await describeLink(name))?.split(':', 1)[0];
}
