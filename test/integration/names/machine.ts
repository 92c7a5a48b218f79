/**
 * A machine for the tests of names: network and mount namespaces of its own with a private /etc and /run, and a network with a server of names that is
 * not ours, `10.9.0.53`, which knows `www.example.com` and `printer.corp.example`. Needs root: services of the system run in it as their own users.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { silentLogger } from '../../../src/platform/log.ts';
import { startDnsServer, type DnsServer } from '../../../src/simulator/dns/server.ts';
import { CLASS_IN, encodeAnswer, errorAnswer, RCODE, TYPE } from '../../../src/simulator/dns/message.ts';
import type { NamesPlan } from '../../../src/simulator/machine/types.ts';
import { World, type Namespace, type Outcome } from '../../harness/namespaces.ts';

export const plan: NamesPlan = {
  domain: 'cluster.local',
  search: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
  namespaces: ['shop', 'post'],
  networks: ['10.96.0.0/16'],
};

const outside: Readonly<Record<string, string>> = { 'www.example.com': '192.0.2.80', 'printer.corp.example': '192.0.2.81' };

interface UpOptions {
  readonly plan?: NamesPlan;
  /** Folders with programs, before the system's. */
  readonly path?: string;
}

export class Machine implements AsyncDisposable {
  readonly world: World;
  readonly here: Namespace;
  readonly folder: string;
  readonly journal: string;
  /** Names that the machine's own servers were asked. */
  readonly asked: string[] = [];
  readonly #servers: DnsServer[] = [];
  #internet: Namespace | undefined;

  private constructor(world: World, folder: string) {
    this.world = world;
    this.here = world.root;
    this.folder = folder;
    this.journal = join(folder, 'journal');
  }

  /** `resolvConf`: the content of /etc/resolv.conf at first. */
  static async create(resolvConf = 'nameserver 10.9.0.53\nsearch corp.example\noptions timeout:2\n'): Promise<Machine> {
    if (process.getuid?.() !== 0) throw new Error('these tests need root: they start services of the system in namespaces of their own');
    const world = await World.create();
    const machine = new Machine(world, mkdtempSync(join(tmpdir(), 'kp-names-')));
    try {
      await machine.#prepare(resolvConf);
      return machine;
    } catch (error) {
      await machine.close();
      throw error;
    }
  }

  async #prepare(resolvConf: string): Promise<void> {
    await this.sh('mkdir /run/etc && cp -a /etc/. /run/etc/ && mount --bind /run/etc /etc && rm -f /etc/resolv.conf');
    await this.sh('mount -t sysfs -o ro sysfs /sys');
    await this.here.run('sh', ['-c', 'cat >/etc/resolv.conf; chmod 640 /etc/resolv.conf; chown 0:4 /etc/resolv.conf'], {
      input: resolvConf,
    });
    await this.sh(
      "printf 'hosts: files dns\\npasswd: files\\ngroup: files\\n' >/etc/nsswitch.conf; printf '127.0.0.1 localhost\\n' >/etc/hosts",
    );
    this.#internet = await this.world.namespace('internet');
    await this.sh('ip link add eth0 type veth peer name far && ip link set far netns internet');
    await this.sh('ip address add 10.9.0.2/24 dev eth0 && ip link set eth0 up && ip route add default via 10.9.0.1');
    await this.#internet.run('sh', ['-c', 'ip address add 10.9.0.1/24 dev far; ip link set far up']);
    await this.server('10.9.0.53');
    // The address of web.shop.
    await this.sh('ip address add 10.96.0.10/32 dev lo');
  }

  /** One more name server of the outside. Its addresses for what both know are the same. */
  async server(address: string): Promise<void> {
    const internet = this.#internet;
    if (internet === undefined) throw new Error('the network is not there yet');
    await internet.run('ip', ['address', 'add', `${address}/32`, 'dev', 'lo']);
    const [udp, tcp] = [await internet.datagrams({ host: address, port: 53 }), await internet.listen({ host: address, port: 53 })];
    const server = await startDnsServer({
      udp: [udp],
      tcp: [tcp],
      log: silentLogger,
      resolve: (query) => {
        const { name, type } = query.question;
        this.asked.push(`${address} ${name}`);
        const found = outside[name];
        if (found === undefined) return encodeAnswer(query, errorAnswer(RCODE.NXDOMAIN));
        const answers = type === TYPE.A ? [{ type: TYPE.A, name, class: CLASS_IN, ttl: 1, address: found }] : [];
        return encodeAnswer(query, { rcode: RCODE.NOERROR, authoritative: true, answers, authorities: [], additionals: [] });
      },
    });
    this.#servers.push(server);
    await this.sh(`ip route replace ${address}/32 via 10.9.0.1`);
  }

  sh(script: string): Promise<string> {
    return this.here.run('sh', ['-c', script]);
  }

  /** The first address that a program of the C library finds; `''` for none. */
  async getent(name: string): Promise<string> {
    const { stdout } = await this.here.attempt('getent', ['ahostsv4', name]);
    return stdout.split(/\s/, 1)[0] ?? '';
  }

  dig(...words: readonly string[]): Promise<string> {
    return this.here.run('dig', ['+short', '+time=2', '+tries=1', ...words]).then((text) => text.trim());
  }

  /** Starts names-process.ts; its first words. */
  async up(options: UpOptions = {}): Promise<Up> {
    const up = this.#start(options);
    await up.ready();
    return up;
  }

  #start(options: UpOptions): Up {
    const file = fileURLToPath(new URL('names-process.ts', import.meta.url));
    const environment = options.path === undefined ? {} : { PATH: `${options.path}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin` };
    const child = this.here.spawn(process.execPath, [file, this.journal, JSON.stringify(options.plan ?? plan)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...environment, KPEERING_LOG: 'debug' },
    });
    return new Up(this.here, child);
  }

  /** One that is killed after so many milliseconds, whatever it has done by then. */
  async upKilledAfter(milliseconds: number, path?: string): Promise<void> {
    const up = this.#start(path === undefined ? {} : { path });
    await up.next((message) => 'pid' in message);
    await delay(milliseconds);
    await up.kill();
  }

  /** Undoes by the journal alone; what it says. */
  async repair(path?: string): Promise<readonly string[]> {
    const file = fileURLToPath(new URL('repair-process.ts', import.meta.url));
    const environment = path === undefined ? {} : { PATH: `${path}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin` };
    const said: unknown = JSON.parse(await this.here.run(process.execPath, [file, this.journal], { environment }));
    return Array.isArray(said) ? said.map(String) : [];
  }

  /** Everything about resolv.conf that an undo must restore, and that nothing else lies beside it. */
  async state(): Promise<string> {
    return this.sh(
      'ls /etc | grep resolv; stat -c "%F %a %u:%g %N %i" /etc/resolv.conf; cat /etc/resolv.conf; ip -o link | sed "s/^[0-9]*: \\([^:@]*\\).*/\\1/" | sort; nft list ruleset; cat /etc/hosts /etc/nsswitch.conf',
    );
  }

  async close(): Promise<void> {
    for (const server of this.#servers) await server.close();
    await this.world.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

interface Applied {
  readonly kind: string;
  readonly servers: readonly { readonly address: string }[];
  readonly search: readonly string[];
}

/** A running names-process.ts. */
export class Up {
  readonly #here: Namespace;
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #said: Record<string, unknown>[] = [];
  #log = '';
  #ended = false;

  constructor(here: Namespace, child: ChildProcess) {
    this.#here = here;
    if (child.stdout === null) throw new Error('no standard output');
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout });
    this.#lines.once('close', () => (this.#ended = true));
    this.#lines.on('line', (line) => {
      const message: unknown = JSON.parse(line);
      if (typeof message === 'object' && message !== null) this.#said.push(Object.fromEntries(Object.entries(message)));
    });
    child.stderr?.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
  }

  /** Resolves when names are joined; rejects with its failure. */
  async ready(): Promise<void> {
    const first = await this.next((message) => 'ready' in message || 'failed' in message);
    if ('failed' in first) throw new Error(`${String(first['failed'])}\n${this.#log}`);
  }

  get log(): string {
    return this.#log;
  }

  /** What is in force, by its latest word. */
  get applied(): Applied {
    const last = this.#said.findLast((message) => 'ready' in message || 'changed' in message) ?? {};
    return asApplied(last['changed'] ?? last['ready']);
  }

  get warnings(): unknown {
    return this.#said.find((message) => 'ready' in message)?.['warnings'];
  }

  async next(fits: (message: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.#said.find(fits);
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`it has ended: ${JSON.stringify(this.#said)} ${this.#log}`);
      // Its last words are read before its output ends.
      await Promise.race([once(this.#lines, 'line'), once(this.#lines, 'close')]);
    }
  }

  /** Resolves when it has told that its servers are these. */
  async changedTo(...addresses: readonly string[]): Promise<void> {
    await this.next(
      (message) =>
        'changed' in message &&
        asApplied(message['changed'])
          .servers.map(({ address }) => address)
          .join() === addresses.join(),
    );
  }

  async update(next: NamesPlan): Promise<void> {
    this.#child.stdin?.write(`${JSON.stringify(next)}\n`);
    await this.next((message) => 'updated' in message);
  }

  async close(): Promise<void> {
    this.#child.stdin?.write('close\n');
    await this.next((message) => 'closed' in message);
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }

  /** SIGKILL. The child that we know is nsenter's, which would leave it running. */
  async kill(): Promise<void> {
    const { pid } = await this.next((message) => 'pid' in message);
    const exited = once(this.#child, 'exit');
    await this.#here.run('kill', ['-9', String(pid)]);
    await exited;
  }
}

function asApplied(value: unknown): Applied {
  const { kind, servers, search }: Record<string, unknown> = typeof value === 'object' && value !== null ? { ...value } : {};
  const addresses = Array.isArray(servers) ? servers.map((server: unknown) => ({ address: addressOf(server) })) : [];
  return { kind: String(kind), servers: addresses, search: Array.isArray(search) ? search.map(String) : [] };
}

function addressOf(server: unknown): string {
  return typeof server === 'object' && server !== null && 'address' in server ? String(server.address) : '';
}

/** Resolves when `holds` does; rejects after five seconds with what was seen last. */
export async function eventually<T>(look: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  const end = performance.now() + 5000;
  for (;;) {
    const value = await look();
    if (holds(value)) return value;
    if (performance.now() > end) throw new Error(`not within 5 s; last seen: ${JSON.stringify(value)}`);
    await delay(20);
  }
}

export type { Outcome };
export { readFileSync };
