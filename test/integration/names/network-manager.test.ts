import test from 'ava';
import { eventually, Machine, plan } from './machine.ts';
import { busConfiguration, SystemPackages } from './system-packages.ts';

let packages: SystemPackages | undefined;

test.before(async () => {
  packages = await SystemPackages.download('network-manager', 'dnsmasq-base', 'dbus-daemon');
  for (const program of ['bin/nmcli', 'bin/busctl']) packages.command(program);
});
test.after.always(() => packages?.[Symbol.dispose]());

/** A machine whose NetworkManager has a connection on eth0 with the server `10.9.0.53`. */
class ManagedMachine implements AsyncDisposable {
  readonly machine: Machine;
  readonly #packages: SystemPackages;

  private constructor(machine: Machine, packages_: SystemPackages) {
    this.machine = machine;
    this.#packages = packages_;
  }

  static async create(mode: 'default' | 'dnsmasq' | 'none', link: boolean): Promise<ManagedMachine> {
    if (packages === undefined) throw new Error('there are no packages');
    const managed = new ManagedMachine(await Machine.create(), packages);
    try {
      await managed.#start(mode, link);
      return managed;
    } catch (error) {
      await managed.machine.close();
      throw error;
    }
  }

  async #start(mode: string, link: boolean): Promise<void> {
    const { machine } = this;
    const configuration = `[main]\nplugins=keyfile\ndns=${mode}\nauth-polkit=false\nno-auto-default=*\n[keyfile]\nunmanaged-devices=interface-name:kpctl0\n`;
    await machine.sh(
      `mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/NetworkManager /run/dbus /run/NetworkManager && rm -rf /etc/NetworkManager && mkdir -p /etc/NetworkManager/conf.d`,
    );
    await machine.here.run('sh', ['-c', 'cat >/etc/NetworkManager/NetworkManager.conf'], { input: configuration });
    if (link) await machine.sh('rm /etc/resolv.conf; ln -s /run/NetworkManager/resolv.conf /etc/resolv.conf');
    await machine.here.run('sh', ['-c', 'cat >/run/bus.conf'], { input: busConfiguration });
    machine.here.spawn(this.#packages.command('bin/dbus-daemon'), ['--config-file=/run/bus.conf', '--nofork', '--nopidfile'], {
      stdio: 'ignore',
    });
    await eventually(
      () => machine.sh('ls /run/dbus'),
      (text) => text.includes('system_bus_socket'),
    );
    if (mode === 'dnsmasq') {
      // NetworkManager starts it by this path.
      await machine.sh(
        `mkdir /run/sbin && cp -a /usr/sbin/. /run/sbin/ && cp ${this.#packages.command('sbin/dnsmasq')} /run/sbin/dnsmasq && mount --bind /run/sbin /usr/sbin`,
      );
    }
    await this.startNetworkManager();
    const addresses = ['ipv4.method', 'manual', 'ipv4.addresses', '10.9.0.2/24', 'ipv4.gateway', '10.9.0.1', 'ipv6.method', 'disabled'];
    const words = ['connection', 'add', 'type', 'ethernet', 'ifname', 'eth0', 'con-name', 'home', ...addresses];
    await this.nmcli(...words, 'ipv4.dns', '10.9.0.53', 'ipv4.dns-search', 'corp.example');
    await this.nmcli('connection', 'up', 'home');
    await eventually(
      () => machine.getent('www.example.com'),
      (address) => address === '192.0.2.80',
    );
  }

  async startNetworkManager(): Promise<void> {
    const { machine } = this;
    machine.here.spawn(this.#packages.command('sbin/NetworkManager'), ['--no-daemon'], { stdio: 'ignore' });
    await eventually(
      () => machine.here.attempt(`${this.#packages.path}/nmcli`, ['general']),
      ({ code }) => code === 0,
    );
  }

  nmcli(...words: readonly string[]): Promise<string> {
    return this.machine.here.run(`${this.#packages.path}/nmcli`, words);
  }

  /** What of NetworkManager's an undo must restore. */
  async state(): Promise<string> {
    return `${await this.machine.state()}${await this.nmcli('-t', '-f', 'NAME,DEVICE,TYPE', 'connection', 'show')}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.close();
  }
}

/** NetworkManager writes its file anew, with another inode. */
function withoutInode(state: string): string {
  return state.replace(/('\/etc\/resolv\.conf'.*) \d+$/m, '$1');
}

for (const link of [true, false]) {
  test(`NetworkManager with dns=default, resolv.conf ${link ? 'a link' : 'a file'}: a connection of ours is asked first, others' servers are told, and it goes`, async (t) => {
    await using managed = await ManagedMachine.create('default', link);
    const { machine } = managed;
    const before = withoutInode(await managed.state());
    const up = await machine.up({ path: packages?.path ?? '' });
    t.is(up.applied.kind, 'network-manager');
    t.deepEqual(up.applied.servers, [{ address: '10.9.0.53' }]);
    t.deepEqual(up.applied.search, ['corp.example']);
    const names = ['web', 'web.shop', 'mail.post', 'db.shop.svc.cluster.local', 'www.example.com', 'printer'];
    const found = ['10.96.0.10', '10.96.0.10', '10.96.0.12', '10.96.0.11', '192.0.2.80', '192.0.2.81'];
    t.deepEqual(await Promise.all(names.map((name) => machine.getent(name))), found);
    await up.update({ ...plan, search: ['post.svc.cluster.local', 'svc.cluster.local', 'cluster.local'] });
    t.is(await machine.getent('mail'), '10.96.0.12');
    // As a new lease does.
    await machine.server('10.9.0.54');
    await managed.nmcli('connection', 'modify', '--temporary', 'home', 'ipv4.dns', '10.9.0.54', 'ipv4.dns-search', 'cafe.example');
    await managed.nmcli('device', 'reapply', 'eth0');
    await up.changedTo('10.9.0.54');
    t.is(await machine.getent('www.example.com'), '192.0.2.80');
    t.true(machine.asked.includes('10.9.0.54 www.example.com'));
    t.is(await machine.getent('web.shop'), '10.96.0.10');
    await managed.nmcli('connection', 'modify', '--temporary', 'home', 'ipv4.dns', '10.9.0.53', 'ipv4.dns-search', 'corp.example');
    await managed.nmcli('device', 'reapply', 'eth0');
    await up.changedTo('10.9.0.53');
    await up.close();
    t.is(withoutInode(await managed.state()), before);
  });
}

test('killed: the repair removes our connection, also when NetworkManager has started again meanwhile, or has ended', async (t) => {
  await using managed = await ManagedMachine.create('default', true);
  const { machine } = managed;
  const before = withoutInode(await managed.state());
  await (await machine.up({ path: packages?.path ?? '' })).kill();
  t.deepEqual(await machine.repair(packages?.path), ["kpctl's connection of NetworkManager is removed"]);
  t.is(withoutInode(await managed.state()), before);

  for (const milliseconds of [150, 300, 450, 600]) {
    await machine.upKilledAfter(milliseconds, packages?.path);
    await machine.repair(packages?.path);
    await eventually(
      async () => withoutInode(await managed.state()),
      (now) => now === before,
    );
  }

  await (await machine.up({ path: packages?.path ?? '' })).kill();
  await machine.sh('pkill -x NetworkManager; while pgrep -x NetworkManager; do sleep 0.05; done');
  t.deepEqual(await machine.repair(packages?.path), ["/etc/resolv.conf has this machine's own servers again"]);
  t.is(await machine.getent('www.example.com'), '192.0.2.80');
  await managed.startNetworkManager();
  await eventually(
    async () => withoutInode(await managed.state()),
    (now) => now === before,
  );
});

test('NetworkManager with dns=dnsmasq: its dnsmasq is asked by us, for all but names of the cluster', async (t) => {
  await using managed = await ManagedMachine.create('dnsmasq', true);
  const { machine } = managed;
  const before = withoutInode(await managed.state());
  const up = await machine.up({ path: packages?.path ?? '' });
  t.is(up.applied.kind, 'resolv-conf');
  t.deepEqual(up.applied.servers, [{ address: '127.0.0.1' }]);
  const names = ['web', 'web.shop', 'mail.post', 'db.shop.svc.cluster.local', 'www.example.com', 'printer'];
  const found = ['10.96.0.10', '10.96.0.10', '10.96.0.12', '10.96.0.11', '192.0.2.80', '192.0.2.81'];
  t.deepEqual(await Promise.all(names.map((name) => machine.getent(name))), found);
  t.is(await machine.dig('-x', '10.96.0.10'), 'web.shop.svc.cluster.local.');
  // It writes its file at every change; ours is put back.
  await managed.nmcli('device', 'reapply', 'eth0');
  await managed.nmcli('connection', 'up', 'home');
  await eventually(
    () => machine.getent('web.shop'),
    (address) => address === '10.96.0.10',
  );
  await up.close();
  t.is(withoutInode(await managed.state()), before);
});

test('NetworkManager with dns=none leaves resolv.conf to others, and so to us', async (t) => {
  await using managed = await ManagedMachine.create('none', false);
  const up = await managed.machine.up({ path: packages?.path ?? '' });
  t.is(up.applied.kind, 'resolv-conf');
  await up.close();
});
