import test from 'ava';
import { Machine } from './machine.ts';
import { SystemPackages } from './system-packages.ts';

/** The two programs of this name, each with its folders over the system's. */
async function machineWith(packages: SystemPackages): Promise<Machine> {
  const machine = await Machine.create();
  const library = packages.file('lib/resolvconf').replace(/\/resolvconf$/, '');
  await machine.sh(`cp -a ${packages.folder}/etc/. /etc/ && mount -t overlay overlay -o lowerdir=${library}:/usr/lib /usr/lib`);
  await machine.sh('mkdir -p /run/resolvconf/interface');
  return machine;
}

for (const name of ['resolvconf', 'openresolv'] as const) {
  test(`${name}: what it is told while names are joined is asked from then on, and stays afterwards`, async (t) => {
    using packages = await SystemPackages.download(name);
    await using machine = await machineWith(packages);
    await machine.server('10.9.0.54');
    const program = packages.file('sbin/resolvconf');
    const tell = (text: string) => machine.here.run(program, ['-a', 'eth0'], { input: text });
    if (name === 'resolvconf') {
      await machine.sh(`rm /etc/resolv.conf; ln -s /run/resolvconf/resolv.conf /etc/resolv.conf; ${program} --enable-updates`);
    }
    await tell('nameserver 10.9.0.53\nsearch corp.example\n');
    // openresolv keeps a file that is not its own as `resolv.conf.bak`, to go back to.
    const look = () =>
      machine.sh(
        'stat -c "%F %a %u:%g %N" /etc/resolv.conf; cat /etc/resolv.conf; ls /etc | grep resolv.conf; cat /etc/resolv.conf.bak || true',
      );
    const before = await look();
    const up = await machine.up();
    t.is(up.applied.kind, 'resolv-conf');
    t.deepEqual(up.applied.servers, [{ address: '10.9.0.53' }]);
    t.is(await machine.getent('web.shop'), '10.96.0.10');
    t.is(await machine.getent('printer'), '192.0.2.81');
    await tell('nameserver 10.9.0.54\nsearch corp.example\n');
    await up.changedTo('10.9.0.54');
    t.is(await machine.getent('web'), '10.96.0.10');
    t.is(await machine.getent('www.example.com'), '192.0.2.80');
    t.true(machine.asked.includes('10.9.0.54 www.example.com'));
    await up.close();
    t.is(await look(), before.replace('nameserver 10.9.0.53', 'nameserver 10.9.0.54'));
  });
}
