import test from 'ava';
import { eventually, Machine, plan } from './machine.ts';
import { busConfiguration, SystemPackages } from './system-packages.ts';

let packages: SystemPackages | undefined;

test.before(async () => {
  packages = await SystemPackages.download(
    'systemd-resolved',
    'libnss-resolve',
    'libsystemd-shared',
    'systemd',
    'dbus-daemon',
    'libdbus-1-3',
  );
  packages.command('bin/resolvectl');
  packages.command('bin/busctl');
});
test.after.always(() => packages?.[Symbol.dispose]());

/** A machine where systemd-resolved runs, with `10.9.0.53` as its server, and `/etc/resolv.conf` links to a file of it, or is a file. */
class ResolvedMachine implements AsyncDisposable {
  readonly machine: Machine;
  readonly #packages: SystemPackages;

  private constructor(machine: Machine, packages_: SystemPackages) {
    this.machine = machine;
    this.#packages = packages_;
  }

  static async create(resolvConf: { readonly link: string } | { readonly text: string }): Promise<ResolvedMachine> {
    if (packages === undefined) throw new Error('there are no packages');
    const resolved = new ResolvedMachine(await Machine.create(), packages);
    try {
      await resolved.#start(resolvConf);
      return resolved;
    } catch (error) {
      await resolved.machine.close();
      throw error;
    }
  }

  async #start(resolvConf: { readonly link: string } | { readonly text: string }): Promise<void> {
    const { machine } = this;
    await machine.sh('for f in passwd group; do sed -i /^systemd-resolve:/d /etc/$f; done; rm -f /etc/systemd/resolved.conf.d/*');
    await machine.sh("echo 'systemd-resolve:x:993:993::/:/usr/sbin/nologin' >>/etc/passwd; echo 'systemd-resolve:x:993:' >>/etc/group");
    await machine.sh(
      "mkdir -p /run/dbus /run/systemd /etc/systemd; printf '[Resolve]\\nDNS=10.9.0.53\\nDomains=corp.example\\nLLMNR=no\\n' >/etc/systemd/resolved.conf",
    );
    await machine.sh('mkdir -p /run/systemd/resolve; chown 993:993 /run/systemd/resolve');
    const link = 'link' in resolvConf ? resolvConf.link : undefined;
    await machine.sh(link === undefined ? 'true' : `rm /etc/resolv.conf; ln -s ${link} /etc/resolv.conf`);
    if ('text' in resolvConf) await machine.here.run('sh', ['-c', 'cat >/etc/resolv.conf'], { input: resolvConf.text });
    await machine.here.run('sh', ['-c', 'cat >/run/bus.conf'], { input: busConfiguration });
    const bus = this.#packages.command('bin/dbus-daemon');
    machine.here.spawn(bus, ['--config-file=/run/bus.conf', '--nofork', '--nopidfile'], { stdio: 'ignore' });
    await eventually(
      () => machine.sh('ls /run/dbus'),
      (text) => text.includes('system_bus_socket'),
    );
    await this.startResolved();
  }

  async startResolved(): Promise<void> {
    const program = this.#packages.command('lib/systemd/systemd-resolved');
    this.machine.here.spawn(program, [], { stdio: 'ignore' });
    await eventually(
      () => this.status(),
      (text) => text.includes('10.9.0.53'),
    );
  }

  async stopResolved(): Promise<void> {
    await this.machine.sh('pkill -x systemd-resolve');
    await eventually(
      () => this.status(),
      (text) => !text.includes('10.9.0.53'),
    );
  }

  async status(): Promise<string> {
    const { stdout } = await this.machine.here.attempt(`${this.#packages.path}/resolvectl`, ['status', '--no-pager']);
    // What it is asking now, and how the lines are set, is nothing that was changed.
    return stdout
      .replaceAll(/Current DNS Server:.*\n/g, '')
      .replaceAll(/^Link \d+/gm, 'Link')
      .replaceAll(/[^\x21-\x7e]+/g, ' ');
  }

  up() {
    return this.machine.up({ path: this.#packages.path });
  }

  /** By libc with nss-resolve, as Ubuntu and Fedora have it. */
  async getent(name: string): Promise<string> {
    const environment = { LD_LIBRARY_PATH: this.#packages.libraries };
    const { stdout } = await this.machine.here.attempt('getent', ['ahostsv4', name], { environment });
    return stdout.split(/\s/, 1)[0] ?? '';
  }

  async useNssResolve(): Promise<void> {
    await this.machine.sh(
      "sed -i 's/^hosts:.*/hosts: files mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns/' /etc/nsswitch.conf",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.close();
  }
}

const names = ['web', 'web.shop', 'mail.post', 'web.shop.svc', 'db.shop.svc.cluster.local', 'www.example.com', 'printer'];
const found = ['10.96.0.10', '10.96.0.10', '10.96.0.12', '10.96.0.10', '10.96.0.11', '192.0.2.80', '192.0.2.81'];

test("systemd-resolved behind its stub: it sends us the cluster's names, by libc, nss-resolve and dig, and no others; then it is as it was", async (t) => {
  await using resolved = await ResolvedMachine.create({ link: '../run/systemd/resolve/stub-resolv.conf' });
  const { machine } = resolved;
  const before = [await machine.state(), await resolved.status()];
  const up = await resolved.up();
  t.is(up.applied.kind, 'systemd-resolved');
  t.deepEqual(up.applied.servers, [{ address: '10.9.0.53' }]);
  t.deepEqual(up.applied.search, ['corp.example']);
  t.deepEqual(await Promise.all(names.map((name) => machine.getent(name))), found);
  await resolved.useNssResolve();
  t.deepEqual(await Promise.all(names.map((name) => resolved.getent(name))), found);
  t.is(await machine.dig('web.shop.svc.cluster.local'), '10.96.0.10');
  t.is(await machine.dig('+tcp', 'web.shop'), '10.96.0.10');
  t.is(await machine.dig('-x', '10.96.0.10'), 'web.shop.svc.cluster.local.');
  t.deepEqual(
    machine.asked.filter((asked) => /cluster|shop|post/.test(asked)),
    [],
  );
  await up.update({ ...plan, namespaces: ['shop'] });
  await machine.sh("sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf");
  await up.close();
  t.deepEqual([await machine.state(), await resolved.status()], before);
  t.is(await machine.getent('web.shop'), '');
});

test('killed: systemd-resolved has forgotten us by itself, and answers as before', async (t) => {
  await using resolved = await ResolvedMachine.create({ link: '../run/systemd/resolve/stub-resolv.conf' });
  const { machine } = resolved;
  const before = [await machine.state(), await resolved.status()];
  const up = await resolved.up();
  t.is(await machine.getent('web.shop'), '10.96.0.10');
  await up.kill();
  await eventually(
    async () => [await machine.state(), await resolved.status()].join(''),
    (now) => now === before.join(''),
  );
  t.is(await machine.getent('www.example.com'), '192.0.2.80');
});

test('systemd-resolved starts again, or is told of another server: names go on', async (t) => {
  await using resolved = await ResolvedMachine.create({ link: '../run/systemd/resolve/stub-resolv.conf' });
  const { machine } = resolved;
  await machine.server('10.9.0.54');
  const up = await resolved.up();
  await resolved.stopResolved();
  await machine.sh('rm -rf /run/systemd/resolve/netif');
  await resolved.startResolved();
  await eventually(
    () => machine.getent('web.shop'),
    (address) => address === '10.96.0.10',
  );
  await machine.here.run(`${packages?.path}/resolvectl`, ['dns', 'eth0', '10.9.0.54']);
  await up.changedTo('10.9.0.53', '10.9.0.54');
  t.is(await machine.getent('web'), '10.96.0.10');
  await up.close();
});

test("a resolv.conf of somebody else's that names the stub gets our search domains, and keeps its server", async (t) => {
  await using resolved = await ResolvedMachine.create({
    text: '# Generated by NetworkManager\nnameserver 127.0.0.53\noptions edns0 trust-ad\n',
  });
  const { machine } = resolved;
  const before = [await machine.state(), await resolved.status()];
  const up = await resolved.up();
  t.is(up.applied.kind, 'systemd-resolved');
  t.deepEqual(await Promise.all(['web', 'web.shop', 'mail.post', 'www.example.com'].map((name) => machine.getent(name))), [
    '10.96.0.10',
    '10.96.0.10',
    '10.96.0.12',
    '192.0.2.80',
  ]);
  await up.kill();
  t.deepEqual(await machine.repair(packages?.path), ['/etc/resolv.conf is as it was']);
  await eventually(
    async () => [await machine.state(), await resolved.status()].join(''),
    (now) => now === before.join(''),
  );
  t.pass();
});

test("a resolv.conf that names resolved's own servers, past it: both who asks those and who asks it find the names", async (t) => {
  await using resolved = await ResolvedMachine.create({ link: '/run/systemd/resolve/resolv.conf' });
  const { machine } = resolved;
  await resolved.useNssResolve();
  const before = [await machine.state(), await resolved.status()];
  const up = await resolved.up();
  t.is(up.applied.kind, 'resolv-conf');
  t.deepEqual(up.applied.servers, [{ address: '10.9.0.53' }]);
  t.is(await machine.dig('web.shop.svc.cluster.local'), '10.96.0.10');
  t.is(await machine.dig('www.example.com'), '192.0.2.80');
  t.deepEqual(await Promise.all(names.map((name) => resolved.getent(name))), found);
  await up.close();
  t.deepEqual([await machine.state(), await resolved.status()], before);
});
