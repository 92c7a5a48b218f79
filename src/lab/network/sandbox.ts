import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { requireProgram } from '../../platform/programs.ts';
import { mustRun } from '../run.ts';

export interface SandboxOptions {
  /** Also the name of files: unique in the lab. */
  readonly id: string;
  readonly hostname: string;
  readonly address: string;
  /** The other end's address. */
  readonly gateway: string;
  /** Whether everything is routed to the gateway (a pod), or only the gateway itself (the laptop). */
  readonly defaultRoute: boolean;
  /** Name of the node's end of the veth pair; joined to the bridge unless `gatewayRoute`. */
  readonly link: string;
  /** True: the node's end is routed, not bridged. */
  readonly routed: boolean;
  /** Text of resolv.conf(5) and hosts(5). */
  readonly resolvConf: string;
  readonly hosts: string;
  /** A folder for the files, on the lab's own file system. */
  readonly directory: string;
  /** Folders that get an empty file system of their own: `/run`. */
  readonly cover: readonly string[];
}

/** What the sandbox's first process does: the parts that must be done inside, in one program's life. */
const script = `
set -e
ip=$1 hostname=$2 resolv=$3 hosts=$4 batch=$5 name=$6
shift 6
for folder; do mount -t tmpfs -o mode=0755 kpeering "$folder"; done
mount --bind "$resolv" /etc/resolv.conf
mount --bind "$hosts" /etc/hosts
mount --bind "$name" /etc/hostname
hostname "$hostname" 2>/dev/null || echo "$hostname" > /proc/sys/kernel/hostname
echo ready
read go
"$ip" -batch "$batch"
echo up
read end || true
`;

/** Network, mount and UTS namespaces of one host (a pod, the laptop), held by a tiny process; programs are run in them by nsenter(1). */
export class Sandbox implements AsyncDisposable {
  readonly pid: number;
  readonly address: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #closing: Promise<void> | undefined;

  private constructor(child: ChildProcess, address: string) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.address = address;
    this.#exited = once(child, 'exit').catch(() => undefined);
  }

  /** Rejects with an Error that names the step; then nothing is left of it. */
  static async start(options: SandboxOptions): Promise<Sandbox> {
    const { id, directory, address, gateway } = options;
    const file = (suffix: string, text: string): string => {
      const path = join(directory, `${id}.${suffix}`);
      writeFileSync(path, text);
      return path;
    };
    const batch = [
      'link set lo up',
      `address add ${address}/32 dev eth0`,
      'link set eth0 up',
      `route add ${gateway} dev eth0 scope link src ${address}`,
      ...(options.defaultRoute ? [`route add default via ${gateway} src ${address}`] : []),
    ];
    const files = [
      file('resolv', options.resolvConf),
      file('hosts', options.hosts),
      file('batch', `${batch.join('\n')}\n`),
      file('name', `${options.hostname}\n`),
    ];
    const [resolv = '', hosts = '', commands = '', name = ''] = files;
    const ip = requireProgram('ip', 'iproute2');
    const child = spawn(
      requireProgram('unshare', 'util-linux'),
      ['--net', '--mount', '--uts', '--', 'sh', '-c', script, 'sh', ip, options.hostname, resolv, hosts, commands, name, ...options.cover],
      { stdio: ['pipe', 'pipe', 'pipe'], detached: true },
    );
    child.on('error', () => undefined);
    child.stdin.on('error', () => undefined);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const sandbox = new Sandbox(child, address);
    try {
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const expect = async (line: string): Promise<void> => {
        const { value } = await lines.next();
        if (value !== line) throw new Error(`the sandbox ${id}: ${stderr.trim() || 'it ended'}`);
      };
      await expect('ready');
      const node = options.routed
        ? [
            `link set ${options.link} up`,
            `address add ${gateway}/32 dev ${options.link}`,
            `route add ${address} dev ${options.link} src ${gateway}`,
          ]
        : [`link set ${options.link} master pods up`];
      const link = `link add ${options.link} type veth peer name eth0 netns ${sandbox.pid}`;
      await mustRun([ip, '-batch', '-'], { input: `${[link, ...node].join('\n')}\n` });
      child.stdin.write('\n');
      await expect('up');
      return sandbox;
    } catch (error) {
      await sandbox.close();
      throw error;
    }
  }

  /** What is put before a program that shall run in this host. It replaces itself by the program (no fork). */
  get prefix(): readonly string[] {
    return [requireProgram('nsenter', 'util-linux'), `--target=${this.pid}`, '--net', '--mount', '--uts', '--'];
  }

  /** Kills every process in the host's network, then the host itself. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const network = networkOf(this.pid);
    if (network !== undefined && network !== networkOf('self')) killProcessesIn(network);
    else this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

function networkOf(pid: number | string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

function killProcessesIn(network: string): void {
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || networkOf(pid) !== network) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
}
