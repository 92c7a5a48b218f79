import test from 'ava';
import { eventually, Machine, plan } from './machine.ts';

async function names(machine: Machine): Promise<string[]> {
  return Promise.all(
    ['web', 'web.shop', 'mail.post', 'web.shop.svc', 'db.shop.svc.cluster.local', 'www.example.com', 'printer'].map((name) =>
      machine.getent(name),
    ),
  );
}

const found = ['10.96.0.10', '10.96.0.10', '10.96.0.12', '10.96.0.10', '10.96.0.11', '192.0.2.80', '192.0.2.81'];

test("a plain resolv.conf: programs find names of the cluster, short and long, and the machine's own; then it is as it was, to the inode", async (t) => {
  await using machine = await Machine.create();
  const before = await machine.state();
  const up = await machine.up();
  t.is(up.applied.kind, 'resolv-conf');
  t.deepEqual(up.applied.servers, [{ address: '10.9.0.53' }]);
  t.deepEqual(up.applied.search, ['corp.example']);
  t.deepEqual(await names(machine), found);
  t.is(await machine.dig('web.shop.svc.cluster.local'), '10.96.0.10');
  t.is(await machine.dig('+tcp', '+search', 'web'), '10.96.0.10');
  t.is(await machine.dig('-x', '10.96.0.10'), 'web.shop.svc.cluster.local.');
  const server = await machine.here.listen({ host: '10.96.0.10', port: 80 });
  server.on('connection', (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n'));
  t.is(await machine.here.run('curl', ['-s', '--max-time', '5', 'http://web.shop/']), 'hello\n');
  const python = "import socket; print(socket.getaddrinfo('mail.post', 25, socket.AF_INET)[0][4][0])";
  t.is((await machine.here.run('/usr/bin/python3', ['-c', python])).trim(), '10.96.0.12');
  t.is(
    (await machine.here.run('busybox', ['nslookup', '-type=a', 'web.shop.svc.cluster.local'])).match(/10\.96\.0\.10/)?.[0],
    '10.96.0.10',
  );
  const text = await machine.sh('cat /etc/resolv.conf');
  t.regex(text, /^nameserver 127\.0\.0\.\d+$/m);
  t.regex(text, /^options ndots:5 timeout:2$/m);
  await up.close();
  t.is(await machine.state(), before);
});

test('a resolv.conf that is a link: the file behind it is left alone and followed, and the link is put back', async (t) => {
  await using machine = await Machine.create();
  await machine.server('10.9.0.54');
  await machine.sh(
    'mkdir /run/resolvconf && mv /etc/resolv.conf /run/resolvconf/resolv.conf && ln -s ../run/resolvconf/resolv.conf /etc/resolv.conf',
  );
  const before = await machine.state();
  const up = await machine.up();
  t.deepEqual(await names(machine), found);
  await machine.sh('printf "nameserver 10.9.0.54\\n" >/run/resolvconf/new && mv /run/resolvconf/new /run/resolvconf/resolv.conf');
  await up.changedTo('10.9.0.54');
  t.is(await machine.getent('www.example.com'), '192.0.2.80');
  t.true(machine.asked.includes('10.9.0.54 www.example.com'));
  await machine.sh('printf "nameserver 10.9.0.53\\nsearch corp.example\\noptions timeout:2\\n" >/run/resolvconf/resolv.conf');
  await up.changedTo('10.9.0.53');
  await up.close();
  t.is(
    await machine.state(),
    before.replace(/ (\d+)\n/, (same) => same),
  );
});

test('who writes resolv.conf meanwhile is followed: ours is put back, the new servers are asked, and theirs is what is restored', async (t) => {
  await using machine = await Machine.create();
  await machine.server('10.9.0.54');
  const up = await machine.up();
  // As a DHCP client does, and then as an editor does.
  await machine.sh(
    'printf "nameserver 10.9.0.54\\nsearch cafe.example\\n" >/etc/resolv.conf.dhcp && chmod 600 /etc/resolv.conf.dhcp && mv /etc/resolv.conf.dhcp /etc/resolv.conf',
  );
  await up.changedTo('10.9.0.54');
  t.deepEqual(up.applied.search, ['cafe.example']);
  t.is(await machine.getent('web.shop'), '10.96.0.10');
  t.is(await machine.getent('www.example.com'), '192.0.2.80');
  t.true(machine.asked.includes('10.9.0.54 www.example.com'));
  await machine.sh('printf "nameserver 10.9.0.53\\n" >/etc/resolv.conf');
  await up.changedTo('10.9.0.53');
  t.is(await machine.getent('web'), '10.96.0.10');
  await up.close();
  t.is(await machine.sh('cat /etc/resolv.conf; ls /etc | grep resolv'), 'nameserver 10.9.0.53\nresolv.conf\n');
});

test('a resolv.conf that is deleted under us is there again, and so is the original at the end', async (t) => {
  await using machine = await Machine.create();
  const before = await machine.state();
  const up = await machine.up();
  await machine.sh('rm /etc/resolv.conf');
  await eventually(
    () => machine.getent('web'),
    (address) => address === '10.96.0.10',
  );
  await up.close();
  t.is(await machine.state(), before);
});

test('a line that somebody adds to ours stays, and ours go', async (t) => {
  await using machine = await Machine.create();
  const up = await machine.up();
  await machine.sh('echo "sortlist 10.0.0.0/8" >>/etc/resolv.conf');
  await eventually(
    () => machine.sh('cat /etc/resolv.conf.before-kpctl || true'),
    (text) => text.includes('sortlist'),
  );
  await up.close();
  t.is(await machine.sh('cat /etc/resolv.conf'), 'nameserver 10.9.0.53\nsearch corp.example\noptions timeout:2\nsortlist 10.0.0.0/8\n');
});

test('a new plan changes the search domains', async (t) => {
  await using machine = await Machine.create();
  const before = await machine.state();
  const up = await machine.up();
  await up.update({ ...plan, search: ['post.svc.cluster.local', 'svc.cluster.local', 'cluster.local'] });
  t.is(await machine.getent('mail'), '10.96.0.12');
  await up.close();
  t.is(await machine.state(), before);
});

test('killed, and the journal is lost: the next one finds the original all the same', async (t) => {
  await using machine = await Machine.create();
  const before = await machine.state();
  await (await machine.up()).kill();
  await machine.sh(`rm ${machine.journal}`);
  const up = await machine.up();
  t.deepEqual(up.applied.servers, [{ address: '10.9.0.53' }]);
  await up.close();
  t.is(await machine.state(), before);
});

test('no resolv.conf at all: there is none afterwards', async (t) => {
  await using machine = await Machine.create();
  await machine.sh('rm /etc/resolv.conf');
  const up = await machine.up();
  t.is(await machine.getent('web.shop'), '10.96.0.10');
  await up.close();
  t.is(await machine.sh('ls /etc | grep resolv || true'), '');
});

test('killed: the journal alone restores the file, the link, the bind-mounted file', async (t) => {
  await using machine = await Machine.create();
  const before = await machine.state();
  await (await machine.up()).kill();
  t.not(await machine.state(), before);
  t.deepEqual(await machine.repair(), ['/etc/resolv.conf is as it was']);
  t.is(await machine.state(), before);
  // A second time there is nothing to do.
  await machine.repair();
  t.is(await machine.state(), before);

  // The file kept aside is lost: the journal has its bytes, mode and owner.
  await (await machine.up()).kill();
  await machine.sh('rm /etc/resolv.conf.before-kpctl');
  await machine.repair();
  const withoutInode = (text: string): string => text.replace(/( '\/etc\/resolv.conf') \d+/, '$1');
  t.is(withoutInode(await machine.state()), withoutInode(before));

  await machine.sh('mv /etc/resolv.conf /run/real && ln -s /run/real /etc/resolv.conf');
  const linked = await machine.state();
  await (await machine.up()).kill();
  await machine.repair();
  t.is(await machine.state(), linked);

  await machine.sh('rm /etc/resolv.conf && touch /etc/resolv.conf && mount --bind /run/real /etc/resolv.conf');
  const mounted = await machine.state();
  const up = await machine.up();
  t.is(up.applied.kind, 'resolv-conf');
  t.is(await machine.getent('web.shop'), '10.96.0.10');
  await up.kill();
  await machine.repair();
  t.is(await machine.state(), mounted);
});

test('killed, and somebody else wrote resolv.conf before the repair: theirs stays, only our lines go', async (t) => {
  await using machine = await Machine.create();
  await (await machine.up()).kill();
  await machine.sh('printf "nameserver 192.0.2.1\\n" >/etc/resolv.conf.new && mv /etc/resolv.conf.new /etc/resolv.conf');
  t.deepEqual(await machine.repair(), []);
  t.is(await machine.sh('cat /etc/resolv.conf; ls /etc | grep resolv'), 'nameserver 192.0.2.1\nresolv.conf\n');

  await (await machine.up()).kill();
  await machine.sh('echo "nameserver 192.0.2.7" >>/etc/resolv.conf');
  t.is((await machine.repair()).length, 1);
  t.is(await machine.sh('grep -v "^#" /etc/resolv.conf; ls /etc | grep resolv'), 'nameserver 192.0.2.7\nresolv.conf\n');
});

test('killed at random moments, eight times: one repair later it is what was there last', async (t) => {
  await using machine = await Machine.create();
  for (let round = 0; round < 8; round += 1) {
    const original = `nameserver 10.9.0.53\n# ${round}\n`;
    await machine.sh(`printf '${original}' >/etc/resolv.conf`);
    await machine.upKilledAfter(round * 60);
    await machine.sh(`[ -e ${machine.journal} ] || echo '[]' >${machine.journal}`);
    await machine.repair();
    t.is(await machine.sh('cat /etc/resolv.conf; ls /etc | grep resolv'), `${original}resolv.conf\n`, `round ${round}`);
    await machine.sh(`rm -f ${machine.journal} ${machine.journal}.new`);
  }
});
