import { readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import test from 'ava';
import { processesIn } from '../../../src/simulator/network/inside/survivors.ts';
import { drive, eventually, laptopServer, script, shout, users, type Driven } from './drive.ts';

/** A client in COMMAND: says hello, half-closes, prints what comes back. */
function client(host: string, port: number): string[] {
  return script(
    `const s = net.connect({ host: '${host}', port: ${port}, allowHalfOpen: true }, () => s.end('hello'));
     s.on('data', (d) => process.stdout.write(d)); s.on('error', (e) => console.log(e.code)); s.on('end', () => console.log(' end'));`,
  );
}

async function finished(driven: Driven): Promise<{ code: number | null; stdout: string }> {
  const { code } = await driven.ended;
  return { code, stdout: driven.stdout() };
}

for (const user of users) {
  test.serial(`${user}: a connection to any address arrives with its destination, half-close included`, async (t) => {
    const laptop = await laptopServer(shout);
    t.teardown(laptop.close);
    const driven = drive({ command: client('10.96.0.7', 80), laptop: { '10.96.0.7:80': laptop.port } }, { user });
    t.deepEqual(await finished(driven), { code: 0, stdout: 'HELLO end\n' }, driven.stderr());
    const flow = await driven.report('flow');
    t.deepEqual(flow.destination, { address: '10.96.0.7', port: 80 });
    t.is(flow.source.address, '198.18.0.2');
  });

  test.serial(`${user}: a flow that is reset on the laptop is reset inside`, async (t) => {
    const driven = drive({ command: client('10.96.0.7', 80) }, { user });
    t.regex((await finished(driven)).stdout, /^(ECONNRESET|EPIPE)/);
  });

  test.serial(`${user}: 127.0.0.1 is the laptop's where nobody inside listens, and COMMAND's own where somebody does`, async (t) => {
    const laptop = await laptopServer(shout);
    t.teardown(laptop.close);
    const outside = drive({ command: client('127.0.0.1', laptop.port), laptop: { [`127.0.0.1:${laptop.port}`]: laptop.port } }, { user });
    t.is((await finished(outside)).stdout, 'HELLO end\n');
    t.deepEqual((await outside.report('flow')).destination, { address: '127.0.0.1', port: laptop.port });

    const within = drive(
      {
        command: script(
          `net.createServer((c) => c.end('mine')).listen(${laptop.port}, '127.0.0.1', () => {
             net.connect(${laptop.port}, '127.0.0.1').on('data', (d) => { console.log(String(d)); process.exit(); });
           });`,
        ),
      },
      { user },
    );
    t.is((await finished(within)).stdout, 'mine\n');
    t.false(within.reports.some((report) => report.type === 'flow'));
  });

  test.serial(`${user}: names are answered by the network's resolver, whichever server is asked`, async (t) => {
    const driven = drive(
      {
        command: script(
          `(async () => {
             const { address } = await dns.promises.lookup('web');
             const other = new dns.promises.Resolver(); other.setServers(['10.96.0.10']);
             const tcp = net.connect(53, '1.1.1.1', () => tcp.end(Buffer.from('001d12340100000100000000000003777777076578616d706c6503636f6d0000010001', 'hex')));
             const answer = await new Promise((resolve) => tcp.on('data', resolve));
             console.log(address, ...(await other.resolve4('web')), [...answer.subarray(-4)].join('.'));
           })();`,
        ),
      },
      { user },
    );
    t.deepEqual(await finished(driven), { code: 0, stdout: '10.1.2.3 10.1.2.3 10.1.2.3\n' }, driven.stderr());
    t.false(driven.reports.some((report) => report.type === 'flow' || report.type === 'refused'));
  });

  test.serial(
    `${user}: where the far end does not know datagrams they are refused at once and told once, but for those between COMMAND's own sockets`,
    async (t) => {
      const driven = drive(
        {
          oldFarEnd: true,
          command: script(
            `const own = dgram.createSocket('udp4').bind(0, '127.0.0.1', () => {
             own.once('message', (m) => { console.log(String(m)); own.close(); ask(2); });
             dgram.createSocket('udp4').unref().send('own', own.address().port, '127.0.0.1');
           });
           function ask(times) {
             const s = dgram.createSocket('udp4'); s.connect(4433, '10.96.0.9', () => s.send('x'));
             s.on('error', (e) => { console.log(e.code); s.close(); if (times > 1) ask(times - 1); });
           }`,
          ),
        },
        { user },
      );
      t.is((await finished(driven)).stdout, 'own\nECONNREFUSED\nECONNREFUSED\n');
      t.deepEqual(
        driven.reports.filter((report) => report.type === 'refused'),
        [{ type: 'refused', destination: { address: '10.96.0.9', port: 4433 } }],
      );
    },
  );

  test.serial(`${user}: IPv6 is captured when the laptop has it`, async (t) => {
    const laptop = await laptopServer(shout);
    t.teardown(laptop.close);
    const driven = drive({ command: client('fd12::7', 80), ipv6: true, laptop: { 'fd12::7:80': laptop.port } }, { user });
    t.is((await finished(driven)).stdout, 'HELLO end\n', JSON.stringify(driven.reports));
  });

  test.serial(`${user}: without IPv6 on the laptop its destinations fail at once`, async (t) => {
    const driven = drive({ command: client('fd12::7', 80), ipv6: false }, { user });
    t.is((await finished(driven)).stdout, 'ENETUNREACH\n');
  });

  for (const address of ['127.0.0.1', '0.0.0.0', '::', '198.18.0.2']) {
    test.serial(`${user}: a port of COMMAND on ${address} is reachable on the laptop for as long as it listens`, async (t) => {
      const driven = drive(
        {
          command: script(
            `const server = net.createServer({ allowHalfOpen: true }, (c) => {
               let text = ''; c.on('data', (d) => text += d); c.on('end', () => { c.end(text.toUpperCase()); server.close(); setTimeout(() => {}, 60000); });
             }).listen(0, '${address}');`,
          ),
        },
        { user },
      );
      const { ports } = await driven.report('ports');
      t.is(ports.length, 1);
      const socket = connect({ host: '127.0.0.1', port: ports[0] ?? 0, allowHalfOpen: true });
      t.teardown(() => socket.destroy());
      socket.end('hello');
      t.is(String(await once(socket, 'data')), 'HELLO');
      await driven.report('ports', (report) => report.ports.length === 0);
      driven.process.send('close');
      await driven.ended;
    });
  }

  test.serial(`${user}: a reset passes between the laptop and a port of COMMAND`, async (t) => {
    const driven = drive(
      { command: script(`net.createServer((c) => c.on('data', () => c.resetAndDestroy())).listen(0, '127.0.0.1');`) },
      { user },
    );
    const { ports } = await driven.report('ports');
    const socket = connect({ host: '127.0.0.1', port: ports[0] ?? 0 });
    socket.write('x');
    await t.throwsAsync(once(socket, 'close'), { code: 'ECONNRESET' });
    driven.process.send('close');
    await driven.ended;
  });

  test.serial(`${user}: a port that the laptop uses itself is told, and stays the laptop's`, async (t) => {
    const laptop = await laptopServer((socket) => socket.end('laptop'));
    t.teardown(laptop.close);
    const driven = drive({ command: script(`net.createServer().listen(${laptop.port}, '127.0.0.1');`) }, { user });
    t.like(await driven.report('unavailable'), { port: laptop.port, code: 'EADDRINUSE' });
    driven.process.send('close');
    await driven.ended;
    t.is(driven.reports.filter((report) => report.type === 'unavailable').length, 1);
  });

  test.serial(`${user}: 200 connections at once into and out of the network`, async (t) => {
    const laptop = await laptopServer(shout);
    t.teardown(laptop.close);
    const driven = drive(
      {
        laptop: { '10.96.0.7:80': laptop.port },
        command: script(
          `const big = 'x'.repeat(100000); let done = 0;
           for (let i = 0; i < 200; i++) {
             let n = 0;
             const s = net.connect({ host: '10.96.0.7', port: 80, allowHalfOpen: true }, () => s.end(big));
             s.on('data', (d) => n += d.length); s.on('error', (e) => console.log(e.code)); s.on('end', () => { if (n === big.length && ++done === 200) console.log('all'); });
           }
           net.createServer({ allowHalfOpen: true }, (c) => c.pipe(c)).listen(0, '127.0.0.1');`,
        ),
      },
      { user },
    );
    const { ports } = await driven.report('ports');
    const sent = 'y'.repeat(100_000);
    const echoed = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const socket = connect({ host: '127.0.0.1', port: ports[0] ?? 0, allowHalfOpen: true });
        socket.end(sent);
        let text = '';
        for await (const chunk of socket) text += String(chunk);
        return text === sent;
      }),
    );
    t.true(echoed.every(Boolean));
    await driven.says('all');
    driven.process.send('close');
    await driven.ended;
  });

  test.serial(`${user}: only the resolver's configuration differs in /etc, and it cannot be written by accident`, async (t) => {
    const driven = drive(
      {
        command: script(
          `const fs = require('fs');
           console.log(JSON.stringify({ names: fs.readdirSync('/etc'), passwd: fs.readFileSync('/etc/passwd', 'utf8'), resolv: fs.readFileSync('/etc/resolv.conf', 'utf8'),
             hosts: fs.readFileSync('/etc/nsswitch.conf', 'utf8').match(/^hosts:.*/m)[0], mtab: fs.existsSync('/etc/mtab') && fs.realpathSync('/etc/mtab').startsWith('/proc/') }));
           try { fs.writeFileSync('/etc/kpeering-test', ''); } catch (e) { console.error(e.code); }`,
        ),
      },
      { user },
    );
    t.is((await driven.ended).code, 0);
    const seen: unknown = JSON.parse(driven.stdout());
    t.like(seen, { passwd: readFileSync('/etc/passwd', 'utf8'), hosts: 'hosts: files dns' });
    t.regex(driven.stdout(), /nameserver 198\.18\.0\.53/);
    t.regex(driven.stderr(), /EROFS|EACCES/);
  });

  test.serial(`${user}: what COMMAND leaves running is ended with it`, async (t) => {
    const driven = drive(
      { command: ['sh', '-c', 'readlink /proc/self/ns/net; trap "" TERM HUP; (while :; do sleep 1; done) & exit 3'] },
      { user },
    );
    const { code, stdout } = await finished(driven);
    t.is(code, 3);
    t.deepEqual(processesIn(stdout.trim()), []);
  });

  test.serial(`${user}: COMMAND is ended when kpctl is killed`, async (t) => {
    const driven = drive(
      { command: ['sh', '-c', 'trap "" HUP TERM; readlink /proc/self/ns/net; (sleep 1000) & while :; do sleep 1; done'] },
      { user },
    );
    const { pid } = await driven.report('started');
    await driven.says('net:[');
    const network = driven.stdout().trim();
    t.is(readlinkSync(`/proc/${pid}/ns/net`), network);
    await eventually(() => processesIn(network).length >= 3, 'three processes');
    driven.process.kill('SIGKILL');
    await eventually(() => processesIn(network).length === 0, 'no process in the network');
    await driven.ended;
  });

  test.serial(`${user}: COMMAND is ended, and the loss told, when the helper is killed`, async (t) => {
    const driven = drive({ command: ['sh', '-c', 'readlink /proc/self/ns/net; echo $PPID; exec sleep 1000'] }, { user });
    await driven.says('\n');
    await eventually(() => driven.stdout().split('\n').length > 2, 'two lines');
    const [network = '', helper] = driven.stdout().split('\n');
    process.kill(Number(helper), 'SIGKILL');
    t.is((await driven.report('failed')).failure.code, 'PRIVATE_NETWORK_LOST');
    t.is((await driven.ended).code, 125);
    t.deepEqual(processesIn(network), []);
  });
}
