import { closeSync, existsSync, readFileSync } from 'node:fs';
import { Failure, messageOf } from '../../../platform/errors.ts';
import type { Closeable } from '../../../platform/owned.ts';
import { openTun } from '../../../platform/tun.ts';
import { run } from '../../network/inside/run.ts';
import { machineAddresses } from '../addresses.ts';
import { deviceBatch } from '../routes.ts';

const { device: name } = machineAddresses;

/** Families that this machine has: a kernel can be without IPv6, and a system can switch it off, also for all devices to come but loopback. */
export async function machineFamilies(ip: string): Promise<readonly (4 | 6)[]> {
  if (!existsSync('/proc/net/if_inet6')) return [4];
  if (readFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', 'utf8').trim() === '1') return [4];
  const addresses = await run(ip, ['-6', 'address', 'show', 'dev', 'lo']);
  return addresses.includes('::1/128') ? [4, 6] : [4];
}

/** Our device. Where the system has tun, it ends with this process, however that ends. */
export class Device implements Closeable {
  readonly #ip: string;
  #tun: number | undefined;
  #closing: Promise<void> | undefined;

  private constructor(ip: string, tun: number | undefined) {
    this.#ip = ip;
    this.#tun = tun;
  }

  /** With addresses, up. Rejects with a Failure MACHINE_SETUP_FAILED. */
  static async make(ip: string, families: readonly (4 | 6)[]): Promise<Device> {
    const device = new Device(ip, await add(ip));
    try {
      await run(ip, ['-batch', '-'], deviceBatch(families));
      return device;
    } catch (error) {
      await device.close();
      throw deviceFailure(error);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    if (this.#tun === undefined) await run(this.#ip, ['link', 'delete', 'dev', name]);
    else closeSync(this.#tun);
    this.#tun = undefined;
  }
}

/** The descriptor that holds it; undefined for a device that nothing holds. */
async function add(ip: string): Promise<number | undefined> {
  try {
    return openTun(name);
  } catch (noTun) {
    try {
      await run(ip, ['link', 'add', name, 'type', 'dummy']);
      return undefined;
    } catch {
      throw deviceFailure(noTun);
    }
  }
}

function deviceFailure(cause: unknown): Failure {
  return new Failure('MACHINE_SETUP_FAILED', `the network device ${name} cannot be made: ${messageOf(cause)}`, {
    likely: 'the kernel has no tun device (CONFIG_TUN), or this is a container that may not use it',
    remedy: 'run "sudo modprobe tun"; in a container give it /dev/net/tun and CAP_NET_ADMIN, or use kpctl run -- COMMAND',
    cause,
  });
}
