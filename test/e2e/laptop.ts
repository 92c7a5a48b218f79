import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { run, start, type Outcome, type Running } from '../../src/kpctl/demo/processes.ts';
import { formatAddress, lastAddress, parseCidr } from '../../src/platform/cidr.ts';
import { requireProgram } from '../../src/platform/programs.ts';
import { World, type Namespace } from '../harness/namespaces.ts';
import { root as checkout, type ClusterStage } from './cluster-stage.ts';
import { differences, type LaptopState } from './laptop-state.ts';

/**
 * A laptop of a test's own, for what changes the whole machine: `kpctl up`. It is a network namespace beside the laptop of
 * `$KPEERING_E2E_LAPTOP`, on the same network (a macvlan of the device by which that one reaches the API server), with mount and process namespaces of
 * its own: /etc, /run, /tmp, /home and /var/lib are private, so that nothing of this machine changes, and nothing is left when it is closed, whatever
 * happened in it. Its default route leads to "the internet": a namespace with a web server and a name server.
 */
export interface Laptop extends AsyncDisposable {
  /** An ordinary user, who may use sudo without a password. */
  readonly user: Seat;
  readonly root: Seat;
  /** A container-like namespace behind a bridge of the laptop, as Docker makes it. */
  readonly container: Seat;
  /** `[node, bin/kpctl.js]`, as the laptop's programs see them. */
  readonly kpctl: readonly string[];
  readonly node: string;
  /** A file of the checkout as the laptop's programs see it. */
  inCheckout(path: string): string;
  /** The laptop's network namespace, for links and routes of a test. */
  readonly network: Namespace;
  readonly internet: Internet;
  /** `sudo kpctl up -n NAMESPACE …` by the ordinary user, to its end (in the background it then runs). */
  up(...options: string[]): Promise<Outcome>;
  /** `sudo kpctl down`. */
  down(): Promise<Outcome>;
  /** Processes in it, but those of the harness: pid (outside) and command line. */
  processes(): readonly LaptopProcess[];
  /** Rules, routes of all tables, links, resolver, hosts, files and processes. */
  state(): Promise<LaptopState>;
  /** What came or went since then; waits up to `milliseconds` (1000) for it to go. `kinds`: only those parts of the state. */
  left(before: LaptopState, milliseconds?: number, kinds?: (kind: string) => boolean): Promise<readonly string[]>;
}

export interface LaptopProcess {
  readonly pid: number;
  readonly command: string;
}

/** From where programs run. */
export interface Seat {
  readonly prefix: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  readonly run: (...argv: string[]) => Promise<Outcome>;
  /** Its stdout; rejects with what it says when its exit code is not 0. */
  readonly out: (...argv: string[]) => Promise<string>;
  readonly start: (...argv: string[]) => Running;
}

/** "The internet": everything behind the laptop's default route. */
export interface Internet extends Pick<Seat, 'run'> {
  /** `http://www.kpeering.example/` and by address: answers `caller ADDRESS`. */
  readonly web: { readonly name: string; readonly ipv4: string; readonly ipv6: string };
  /** The laptop's name server. */
  readonly nameServer: string;
  /** The laptop's addresses, as the internet sees them. */
  readonly laptop: { readonly ipv4: string; readonly ipv6: string };
}

const USER = { name: 'kp-developer', uid: 4321 } as const;
const internet: Omit<Internet, 'run'> = {
  web: { name: 'www.kpeering.example', ipv4: '203.0.113.80', ipv6: '2001:db8:80::80' },
  nameServer: '203.0.113.53',
  laptop: { ipv4: '192.0.2.2', ipv6: '2001:db8:1::2' },
};
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Neither docker's default nor a cluster's usual range. */
const bridge = { laptop: '172.20.0.1', container: '172.20.0.2' } as const;

export interface LaptopOptions {
  /** Whether the laptop has an IPv6 default route. Default: it has. */
  readonly ipv6?: boolean;
}

/** Makes the laptop; the kubeconfig of `stage` is the ordinary user's. */
export async function openLaptop(stage: ClusterStage, { ipv6 = true }: LaptopOptions = {}): Promise<Laptop> {
  const world = await World.create();
  try {
    const network = world.root;
    await network.run('sh', ['-c', usualSettings]);
    await joinNetworkOf(stage, world);
    await makePrivate(network, stage);
    const outside = await makeInternet(world, ipv6);
    const container = await makeContainer(world);
    const node = join('/mnt/checkout', process.execPath.slice(checkout.length));
    const inCheckout = (path: string): string => join('/mnt/checkout', path);
    await serveInternet(outside, node, inCheckout);
    const runtime = `/run/user/${USER.uid}`;
    const userEnvironment = {
      PATH: systemPath,
      HOME: `/home/${USER.name}`,
      USER: USER.name,
      LOGNAME: USER.name,
      KUBECONFIG: `/home/${USER.name}/kubeconfig`,
      XDG_RUNTIME_DIR: runtime,
      TERM: 'dumb',
    };
    const asUser = ['setpriv', '--reuid', String(USER.uid), '--regid', String(USER.uid), '--init-groups', '--inh-caps=-all', '--'];
    const home = ['env', `--chdir=/home/${USER.name}`];
    const rootSeat = seat(network.prefix, { PATH: systemPath, HOME: '/root', TERM: 'dumb' });
    const user = seat([...network.prefix, ...asUser, ...home], userEnvironment);
    const containerSeat = seat([...container.prefix, 'unshare', '--mount', 'sh', '-c', containerScript, 'sh'], {
      PATH: systemPath,
      HOME: '/root',
    });
    const kpctl = [node, inCheckout('bin/kpctl.js')];
    const mine = new Set(processesOf(world).map(({ pid }) => pid));
    const processes = (): LaptopProcess[] => processesOf(world).filter(({ pid }) => !mine.has(pid));
    const state = async (): Promise<LaptopState> =>
      new Map([...(await systemState(rootSeat)), ['processes', processes().map(({ command }) => command)]]);
    return {
      user,
      root: rootSeat,
      container: containerSeat,
      kpctl,
      node,
      inCheckout,
      network,
      internet: { ...internet, run: seat(outside.prefix, { PATH: systemPath }).run },
      processes,
      state,
      up: async (...options) => await user.run('sudo', ...kpctl, 'up', '-n', stage.namespace, ...options),
      down: async () => await user.run('sudo', ...kpctl, 'down'),
      left: async (before, milliseconds = 1000, kinds = () => true) => {
        const relevant = new Map([...before].filter(([kind]) => kinds(kind)));
        for (const started = performance.now(); ; await delay(50)) {
          const left = differences(relevant, await state());
          if (left.length === 0 || performance.now() - started > milliseconds) return left;
        }
      },
      [Symbol.asyncDispose]: async () => await world.close(),
    };
  } catch (error) {
    await world.close();
    throw error;
  }
}

function seat(prefix: readonly string[], environment: NodeJS.ProcessEnv): Seat {
  const runHere = async (...argv: string[]): Promise<Outcome> => await run([...prefix, ...argv], environment);
  return {
    prefix,
    environment,
    run: runHere,
    out: async (...argv) => {
      const { code, stdout, stderr } = await runHere(...argv);
      if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}: ${stderr}${stdout}`);
      return stdout;
    },
    start: (...argv) => start([...prefix, ...argv], environment),
  };
}

const routeSchema = z.array(z.object({ dev: z.string(), gateway: z.string().optional(), prefsrc: z.string().optional() }));
const addressesSchema = z.array(
  z.object({
    addr_info: z.array(z.object({ local: z.string().optional(), prefixlen: z.number(), scope: z.string(), family: z.string() })),
  }),
);

/** A place on the network by which the stage's laptop reaches the API server. */
async function joinNetworkOf(stage: ClusterStage, world: World): Promise<void> {
  const network = world.root;
  const base = async (...words: string[]): Promise<string> => {
    const outcome = await run([...stage.laptopPrefix, requireProgram('ip', 'iproute2'), ...words], stage.environment);
    if (outcome.code !== 0) throw new Error(`ip ${words.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout;
  };
  const server = new URL((await stage.kubectlOut('config', 'view', '--minify', '-o', 'jsonpath={.clusters[0].cluster.server}')).trim());
  const host = server.hostname.replaceAll(/^\[|\]$/g, '');
  const [route] = routeSchema.parse(JSON.parse(await base('-json', 'route', 'get', host)));
  if (route === undefined || route.dev === 'lo') {
    throw new Error(
      `the API server ${server.host} is on this very machine: set KPEERING_E2E_LAPTOP to a prefix that runs commands on another host (ip netns exec laptop)`,
    );
  }
  await base('link', 'add', 'link', route.dev, 'name', 'lan0', 'netns', String(world.pid), 'type', 'macvlan', 'mode', 'bridge');
  await network.run('ip', ['link', 'set', 'lan0', 'up']);
  const found = addressesSchema.parse(JSON.parse(await base('-json', 'address', 'show', 'dev', route.dev)));
  const taken = [host, route.gateway ?? '', ...found.flatMap(({ addr_info: list }) => list.map(({ local }) => local ?? ''))];
  for (const { local, prefixlen, scope, family } of found.flatMap(({ addr_info: list }) => list)) {
    if (local === undefined || scope !== 'global') continue;
    const address = await freeAddress(network, `${local}/${prefixlen}`, taken, family === 'inet');
    await network.run('ip', ['address', 'add', address, 'dev', 'lan0', ...(family === 'inet6' ? ['nodad'] : [])]);
  }
  if (route.gateway !== undefined) await network.run('ip', ['route', 'add', host, 'via', route.gateway, 'dev', 'lan0']);
}

/** An address of that network that nobody answers for. */
async function freeAddress(network: Namespace, example: string, taken: readonly string[], ask: boolean): Promise<string> {
  const cidr = parseCidr(example);
  if (cidr === undefined) throw new Error(example);
  const size = lastAddress(cidr) - cidr.base;
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const offset = 1n + (BigInt(Math.floor(Math.random() * 2 ** 32)) % (size > 2n ** 32n ? 2n ** 32n : size - 1n));
    const address = formatAddress(cidr.family, cidr.base + offset);
    if (taken.includes(address)) continue;
    // RFC 5227: 0 when nobody answers
    const probe = ask ? await network.attempt('busybox', ['arping', '-D', '-q', '-c', '1', '-w', '1', '-I', 'lan0', address]) : { code: 0 };
    if (probe.code === 0) return `${address}/${cidr.bits}`;
  }
  throw new Error(`no free address in ${example}`);
}

/** Private copies of what `kpctl up` and its helpers could change, and an ordinary user. */
async function makePrivate(network: Namespace, stage: ClusterStage): Promise<void> {
  const script = `set -e
mount -t tmpfs tmpfs /mnt
mkdir -m 755 /mnt/checkout /mnt/etc
mount --bind "$1" /mnt/checkout
cp -a /etc/. /mnt/etc/
rm -f /mnt/etc/resolv.conf* /mnt/etc/sudoers.d/*
cp "$2" /mnt/kubeconfig
mount --bind /mnt/etc /etc
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=700 tmpfs /root
mount -t tmpfs -o mode=1777 tmpfs /tmp
echo '${USER.name}:x:${USER.uid}:${USER.uid}::/home/${USER.name}:/bin/sh' >>/etc/passwd
echo '${USER.name}:x:${USER.uid}:' >>/etc/group
echo '${USER.name}:*:19000::::::' >>/etc/shadow
echo '${USER.name} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/${USER.name}
chmod 440 /etc/sudoers.d/${USER.name}
printf '127.0.0.1 localhost %s\\n::1 localhost %s\\n' "$3" "$3" >/etc/hosts
printf 'passwd: files\\ngroup: files\\nshadow: files\\nhosts: files dns\\n' >/etc/nsswitch.conf
printf 'search kpeering.example\\nnameserver ${internet.nameServer}\\n' >/etc/resolv.conf
mkdir -p -m 755 /home/${USER.name} /run/user
mkdir -m 700 /run/user/${USER.uid}
cp /mnt/kubeconfig /home/${USER.name}/kubeconfig
chown -R ${USER.uid}:${USER.uid} /home/${USER.name} /run/user/${USER.uid}
mkdir -p /run/lock
`;
  await network.run('sh', ['-c', script, 'sh', checkout, stage.environment['KUBECONFIG'] ?? '', hostname()]);
}

async function makeInternet(world: World, ipv6: boolean): Promise<Namespace> {
  const outside = await world.namespace('internet');
  await world.join({ namespace: world.root, address: `${internet.laptop.ipv4}/24` }, { namespace: outside, address: '192.0.2.1/24' });
  for (const address of [`${internet.web.ipv4}/32`, `${internet.nameServer}/32`, `${internet.web.ipv6}/128`]) {
    await outside.run('ip', ['address', 'add', address, 'dev', 'lo', ...(address.includes(':') ? ['nodad'] : [])]);
  }
  await world.root.run('ip', ['route', 'add', 'default', 'via', '192.0.2.1']);
  if (!ipv6) return outside;
  const [device] = deviceSchema.parse(JSON.parse(await world.root.run('ip', ['-json', 'route', 'get', '192.0.2.1'])));
  const [far] = deviceSchema.parse(JSON.parse(await outside.run('ip', ['-json', 'route', 'get', internet.laptop.ipv4])));
  await world.root.run('ip', ['address', 'add', `${internet.laptop.ipv6}/64`, 'dev', device?.dev ?? '', 'nodad']);
  await outside.run('ip', ['address', 'add', '2001:db8:1::1/64', 'dev', far?.dev ?? '', 'nodad']);
  await world.root.run('ip', ['-6', 'route', 'add', 'default', 'via', '2001:db8:1::1']);
  return outside;
}

const deviceSchema = z.array(z.object({ dev: z.string() }));

async function serveInternet(outside: Namespace, node: string, inCheckout: (path: string) => string): Promise<void> {
  const begin = (program: string, ...words: string[]) => outside.spawn(program, words, { stdio: 'ignore' }).unref();
  begin(node, inCheckout('test/e2e/internet.ts'));
  const settings = ['no-daemon', 'no-resolv', 'no-hosts', 'conf-file=/dev/null', 'user=root', 'bind-interfaces', 'local=/example/'];
  const addresses = [internet.web.ipv4, internet.web.ipv6].map((address) => `address=/${internet.web.name}/${address}`);
  const words = [...settings, ...addresses, `listen-address=${internet.nameServer}`].map((word) => `--${word}`);
  begin(requireProgram('dnsmasq', 'dnsmasq-base'), ...words);
  for (let attempt = 0; ; attempt += 1) {
    const probe = await outside.attempt('sh', [
      '-c',
      `curl -sf http://${internet.web.ipv4}/ && dig +short +time=1 +tries=1 @${internet.nameServer} ${internet.web.name}`,
    ]);
    if (probe.code === 0 && probe.stdout.includes(internet.web.ipv4)) return;
    if (attempt === 100) throw new Error(`the servers of the internet did not start: ${probe.stderr}${probe.stdout}`);
    await delay(50);
  }
}

/** As Docker does: a bridge, masquerading behind it, forwarding. */
async function makeContainer(world: World): Promise<Namespace> {
  const container = await world.namespace('container');
  const script = `set -e
ip link add br0 type bridge
ip address add ${bridge.laptop}/24 dev br0
ip link set br0 up
ip link add veth-c type veth peer name eth0 netns container
ip link set veth-c master br0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
nft 'table ip containers { chain post { type nat hook postrouting priority srcnat; ip saddr ${bridge.laptop}/24 oifname != "br0" masquerade; }; }'
`;
  await world.root.run('sh', ['-c', script]);
  await container.run('sh', [
    '-ec',
    `ip address add ${bridge.container}/24 dev eth0; ip link set eth0 up; ip route add default via ${bridge.laptop}`,
  ]);
  return container;
}

/** A container's resolv.conf as Docker makes it from the host's: without name servers on loopback, and with those of the internet if none is left. */
const containerScript = `set -e
grep -v '^nameserver 127\\.' /etc/resolv.conf >/run/container-resolv.conf || :
grep -q '^nameserver' /run/container-resolv.conf || echo 'nameserver ${internet.nameServer}' >>/run/container-resolv.conf
mount --bind /run/container-resolv.conf /etc/resolv.conf
exec "$@"`;

/** As distributions set it (systemd's 50-default.conf); and addresses are there at once, and not after a second. */
const usualSettings =
  'cd /proc/sys/net && echo 2 >ipv4/conf/all/rp_filter && echo 2 >ipv4/conf/default/rp_filter && echo 0 >ipv6/conf/default/accept_dad';

const sections: readonly (readonly [string, string])[] = [
  ['nft rules', 'nft list ruleset'],
  ['links', 'ip -brief link'],
  ['addresses', 'ip -brief address'],
  ['policy routes', 'ip rule; ip -6 rule'],
  ['routes', 'ip route show table all; ip -6 route show table all'],
  ['resolv.conf', 'ls -l /etc/resolv.conf | cut -c1-10; readlink /etc/resolv.conf; cat /etc/resolv.conf'],
  ['hosts', 'cat /etc/hosts /etc/nsswitch.conf'],
  [
    'settings',
    'cd /proc/sys/net; grep -s . ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/*/route_localnet ipv4/conf/*/rp_filter ipv4/conf/*/src_valid_mark',
  ],
  [
    'files',
    'find /etc /run /var/lib /tmp -path /run/sudo -prune -o -path /var/lib/sudo -prune -o -name container-resolv.conf -prune -o -path "/run/user/*/kpctl" -o -path /tmp/kpctl-0 -o -print',
  ],
];

async function systemState(root: Seat): Promise<Map<string, readonly string[]>> {
  const script = sections.map(([name, commands]) => `echo '== ${name}'\n(${commands}) 2>&1`).join('\n');
  const text = await root.out('sh', '-c', script);
  // counters move by themselves, and so does what a device says of its carrier
  const steady = text
    .replaceAll(/^(\S+ +)(?:UP|DOWN|UNKNOWN|LOWERLAYERDOWN) +/gm, '$1')
    .replaceAll(/counter packets \d+ bytes \d+/g, 'counter')
    .replaceAll(/ expires \S+| \d+sec/g, '');
  const state = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of steady.split('\n')) {
    const [, name] = /^== (.+)$/.exec(line) ?? [];
    if (name !== undefined) state.set(name, (lines = []));
    else if (line.trim() !== '') lines.push(line);
  }
  return state;
}

/** Processes of the world with their command lines; one that has ended and is not yet reaped has none. */
function processesOf(world: World): LaptopProcess[] {
  const own = readlinkSync(`/proc/${world.pid}/ns/pid`);
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      if (readlinkSync(`/proc/${name}/ns/pid`) !== own) return [];
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      return command === '' ? [] : [{ pid: Number(name), command }];
    } catch {
      return []; // it has ended
    }
  });
}
