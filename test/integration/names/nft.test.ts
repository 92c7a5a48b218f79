import test from 'ava';
import { eventually, Machine } from './machine.ts';

test('a resolv.conf that cannot be changed: what programs ask its servers comes to us, over UDP and TCP, IPv4 and IPv6; other servers are asked as before', async (t) => {
  await using machine = await Machine.create('nameserver 10.9.0.53\nnameserver fd00:9::53\nsearch corp.example\n');
  await machine.server('10.9.0.54');
  await machine.sh('ip -6 address add fd00:9::2/64 dev eth0 nodad; ip -6 route add default via fd00:9::1 dev eth0');
  await machine.sh(
    'chmod 644 /etc/resolv.conf; mount --bind /etc/resolv.conf /etc/resolv.conf && mount -o remount,bind,ro /etc/resolv.conf',
  );
  const before = await machine.state();
  const up = await machine.up();
  t.is(up.applied.kind, 'nft');
  t.deepEqual(up.applied.servers, [{ address: '10.9.0.53' }, { address: 'fd00:9::53' }]);
  t.is(await machine.getent('web.shop'), '10.96.0.10');
  t.is(await machine.getent('web'), '10.96.0.10');
  t.is(await machine.getent('www.example.com'), '192.0.2.80');
  t.is(await machine.getent('printer'), '192.0.2.81');
  t.is(await machine.dig('+tcp', 'web.shop'), '10.96.0.10');
  t.is(await machine.dig('@fd00:9::53', 'web.shop'), '10.96.0.10');
  t.is(await machine.dig('+tcp', '@fd00:9::53', 'web.shop'), '10.96.0.10');
  t.is(
    await machine.here.run('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', 'dig', '+short', 'web.shop']),
    '10.96.0.10\n',
  );
  t.is(await machine.dig('@10.9.0.54', 'web.shop.svc.cluster.local'), '');
  t.deepEqual(
    machine.asked.filter((asked) => asked.includes('shop')),
    ['10.9.0.54 web.shop.svc.cluster.local'],
  );
  await up.close();
  t.is(await machine.state(), before);
});

test('the same with a server on the loopback, as in a container; killed, nothing is left, and rules that others flush come back', async (t) => {
  await using machine = await Machine.create('nameserver 127.0.0.11\n');
  // It asks the outside, on port 53: that is not for us.
  await machine.sh('busybox sh -c "socat -T 2 UDP-LISTEN:53,bind=127.0.0.11,fork UDP:10.9.0.53:53 >/dev/null 2>&1 &"');
  await eventually(
    () => machine.getent('www.example.com'),
    (address) => address === '192.0.2.80',
  );
  await machine.sh('mount --bind /etc/resolv.conf /etc/resolv.conf && mount -o remount,bind,ro /etc/resolv.conf');
  const before = await machine.state();
  const up = await machine.up();
  t.is(up.applied.kind, 'nft');
  t.is(await machine.getent('web.shop'), '10.96.0.10');
  t.is(await machine.getent('www.example.com'), '192.0.2.80');
  await machine.sh('nft flush ruleset; pkill -x nft');
  await eventually(
    () => machine.getent('web.shop'),
    (address) => address === '10.96.0.10',
  );
  await up.kill();
  await eventually(
    () => machine.state(),
    (now) => now === before,
  );
  t.is(await machine.getent('www.example.com'), '192.0.2.80');
});

test('an immutable resolv.conf is left as it is, and names are found', async (t) => {
  await using machine = await Machine.create();
  await machine.sh('chattr +i /etc/resolv.conf');
  const before = await machine.state();
  const up = await machine.up();
  t.is(up.applied.kind, 'nft');
  t.is(await machine.getent('web.shop'), '10.96.0.10');
  await up.close();
  t.is(await machine.state(), before);
});

test('port 53 of all addresses is taken: the servers in resolv.conf are redirected to a port of ours', async (t) => {
  await using machine = await Machine.create('nameserver 127.0.0.1\n');
  await machine.sh(
    'socat -T 2 UDP-LISTEN:53,fork UDP:10.9.0.53:53 >/dev/null 2>&1 & socat TCP-LISTEN:53,fork TCP:10.9.0.53:53 >/dev/null 2>&1 &',
  );
  await eventually(
    () => machine.getent('www.example.com'),
    (address) => address === '192.0.2.80',
  );
  const before = await machine.state();
  const up = await machine.up();
  t.is(up.applied.kind, 'nft');
  t.is(await machine.getent('web.shop'), '10.96.0.10');
  t.is(await machine.getent('www.example.com'), '192.0.2.80');
  await up.close();
  t.is(await machine.state(), before);
});
