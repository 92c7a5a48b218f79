/**
 * A laptop for the tests of the capture: network, mount and process namespaces of its own, with /etc, /run and /var/lib that are nobody else's, a network
 * behind a default route, and a bridge with a container.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { readySchema, spokenSchema, type Ready, type Scenario, type Spoken } from './scenario.ts';
import type { FrontArguments } from './front.ts';
import { World, type Namespace } from '../../harness/namespaces.ts';

export const everything: Scenario = {
  capture: ['10.96.0.0/16', '10.99.0.0/24', 'fd12:96::/48'],
  never: ['10.96.0.1/32', 'fd12:96::1/128'],
};

/** An ordinary user of this machine, in two more groups. */
export const caller: FrontArguments['caller'] = {
  uid: 4321,
  gid: 4322,
  groups: [4322, 4323, 4324],
  name: 'alice',
  home: '/home/alice',
  environment: { PATH: '/usr/bin:/bin', HOME: '/home/alice', SECRET: 'of alice' },
  directory: '/tmp',
};

const frontPath = fileURLToPath(new URL('front.ts', import.meta.url));

export class Stage implements AsyncDisposable {
  readonly world: World;
  readonly laptop: Namespace;
  /** What is behind the default route: 10.9.0.1 and fd09::1. */
  readonly wan: Namespace;
  /** A container behind the laptop's bridge: 172.30.0.2, fd30::2. */
  readonly container: Namespace;
  readonly #fronts: Front[] = [];

  private constructor(world: World, wan: Namespace, container: Namespace) {
    this.world = world;
    this.laptop = world.root;
    this.wan = wan;
    this.container = container;
  }

  static async create({ bridgeNetfilter = '0' }: { readonly bridgeNetfilter?: '0' | '1' } = {}): Promise<Stage> {
    if (process.getuid?.() !== 0) throw new Error('these tests need root: they start processes of several users');
    const world = await World.create();
    try {
      const laptop = world.root;
      await laptop.run('sh', [
        '-ec',
        [
          'mkdir -p /run/etc && cp -a /etc/. /run/etc && mount --bind /run/etc /etc',
          'rm -f /etc/resolv.conf && printf "nameserver 10.9.0.53\\nsearch corp.example\\n" > /etc/resolv.conf',
          'mount -t tmpfs tmpfs /var/lib',
          'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1',
        ].join('\n'),
      ]);
      const wan = await world.namespace('wan');
      const container = await world.namespace('container');
      await world.join({ namespace: laptop, address: '10.9.0.2/24' }, { namespace: wan, address: '10.9.0.1/24' });
      await laptop.run('ip', ['-batch', '-'], {
        input: 'address add fd09::2/64 dev link0 nodad\nroute add default via 10.9.0.1\nroute add default via fd09::1\n',
      });
      await wan.run('ip', ['-batch', '-'], {
        input:
          'address add fd09::1/64 dev link1 nodad\naddress add 10.96.0.1/32 dev lo\naddress add fd12:96::1/128 dev lo\naddress add 10.97.0.1/32 dev lo\nroute add 172.30.0.0/24 via 10.9.0.2\n',
      });
      await laptop.run('ip', ['-batch', '-'], {
        input: [
          'link add br0 type bridge',
          'link add port0 type veth peer name eth0 netns container',
          'link set port0 master br0 up',
          'link set br0 up',
          'address add 172.30.0.1/24 dev br0',
          'address add fd30::1/64 dev br0 nodad',
          '',
        ].join('\n'),
      });
      await container.run('ip', ['-batch', '-'], {
        input: [
          'link set eth0 up',
          'address add 172.30.0.2/24 dev eth0',
          'address add fd30::2/64 dev eth0 nodad',
          'route add default via 172.30.0.1',
          'route add default via fd30::1',
          '',
        ].join('\n'),
      });
      for (const name of ['iptables', 'ip6tables']) {
        await laptop.run('sh', ['-c', `echo ${bridgeNetfilter} > /proc/sys/net/bridge/bridge-nf-call-${name}`]);
      }
      return new Stage(world, wan, container);
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** Starts a front; resolves with the first thing that it has to say. */
  front({
    scenario = everything,
    as = caller,
    repairOnly = false,
  }: { scenario?: Scenario; as?: FrontArguments['caller']; repairOnly?: boolean } = {}): Front {
    const words: FrontArguments = { caller: as, scenario, repairOnly };
    const front = new Front(
      this.laptop.spawn(process.execPath, ['--disable-warning=ExperimentalWarning', frontPath, JSON.stringify(words)], {
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    );
    this.#fronts.push(front);
    return front;
  }

  /** Starts a front, and waits until the machine is joined. */
  async up(options: Parameters<Stage['front']>[0] = {}): Promise<{ front: Front; ready: Ready; helper: number }> {
    const front = this.front(options);
    const started = await front.said('started');
    const { message } = await front.said('report');
    const ready = readySchema.safeParse(message);
    if (!ready.success) throw new Error(`the agent says ${JSON.stringify(message)}`);
    return { front, ready: ready.data, helper: started.pid };
  }

  /** Everything of the laptop that `up` may change, as text. */
  async state(): Promise<string> {
    return await this.laptop.run('sh', [
      '-c',
      [
        'nft list ruleset',
        'ip rule; ip -6 rule',
        // What a device's own address of the link brings comes a moment after it is up.
        'ip -4 route show table all; ip -6 route show table all | grep -v "fe80:\\|ff00:\\|anycast"',
        'ip -br link; ip -br address | sed "s/ fe80:[^ ]*//"',
        'cat /etc/resolv.conf /etc/hosts; ls -la /etc/resolv.conf',
        'find /var/lib -type f',
        'ss -Hltun',
      ].join('; '),
    ]);
  }

  /** The journals that are there, with their text: one may be empty, of who was killed before the first word. */
  async leftJournals(): Promise<string> {
    return (await this.laptop.attempt('sh', ['-c', 'find /var/lib/kpctl/journal -type f -print -exec cat {} + 2>/dev/null'])).stdout;
  }

  /** Resolves when the state is this one, with the milliseconds until then; rejects with the difference when a look after the time shows another. */
  async becomes(before: string, milliseconds: number): Promise<number> {
    const begin = performance.now();
    for (;;) {
      const looked = performance.now() - begin;
      const now = await this.state();
      if (now === before) return looked;
      if (looked > milliseconds) throw new Error(`not as before after ${Math.round(looked)} ms:\n${difference(before, now)}`);
      await pause(20);
    }
  }

  async signal(pid: number, name: string): Promise<void> {
    await this.laptop.run('kill', [`-${name}`, String(pid)]);
  }

  async close(): Promise<void> {
    for (const front of this.#fronts) front.kill();
    await this.world.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function difference(before: string, now: string): string {
  const [old, fresh] = [before.split('\n'), now.split('\n')];
  return [
    ...old.filter((line) => !fresh.includes(line)).map((line) => `- ${line}`),
    ...fresh.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
  ].join('\n');
}

export class Front {
  readonly #child: ChildProcess;
  readonly #said: Spoken[] = [];
  #waiting: (() => void) | undefined;
  #ended = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error('the front has no output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#said.push(spokenSchema.parse(JSON.parse(line)));
      this.#waiting?.();
    });
    child.once('close', () => {
      this.#ended = true;
      this.#waiting?.();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The next thing of that kind that it says. */
  async said<E extends Spoken['event']>(event: E): Promise<Extract<Spoken, { event: E }>> {
    for (;;) {
      const index = this.#said.findIndex((spoken) => spoken.event === event);
      const [found] = index === -1 ? [] : this.#said.splice(index, 1);
      if (found !== undefined && is(found, event)) return found;
      const failed = this.#said.find((spoken) => spoken.event === 'failed');
      if (failed !== undefined) throw new Error(`the front failed: ${JSON.stringify(failed)}`);
      if (this.#ended) throw new Error(`the front has ended without ${event}; it said ${JSON.stringify(this.#said)}`);
      await new Promise<void>((resolve) => (this.#waiting = resolve));
    }
  }

  /** How it fails. */
  async failed(): Promise<Extract<Spoken, { event: 'failed' }>> {
    await this.ended();
    const failed = this.#said.find((spoken) => spoken.event === 'failed');
    if (failed === undefined) throw new Error(`the front has not failed; it said ${JSON.stringify(this.#said)}`);
    return failed;
  }

  tell(word: 'detach' | 'close'): void {
    this.#child.stdin?.write(`${word}\n`);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async ended(): Promise<void> {
    if (!this.#ended) await once(this.#child, 'close');
  }
}

function is<E extends Spoken['event']>(spoken: Spoken, event: E): spoken is Extract<Spoken, { event: E }> {
  return spoken.event === event;
}
