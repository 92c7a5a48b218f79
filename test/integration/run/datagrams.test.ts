import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import test from 'ava';
import { requireProgram } from '../../../src/platform/programs.ts';
import { drive, script, users, type Driven } from './drive.ts';

/** A UDP server on the laptop's `address` that answers with what `answer` makes of a datagram; undefined: it keeps silent. */
async function laptopDatagrams(
  answer: (payload: Buffer, from: RemoteInfo) => Buffer | undefined,
  address = '127.0.0.1',
): Promise<{ port: number; socket: Socket; close: () => void }> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4_194_304 });
  socket.on('message', (payload, from) => {
    const reply = answer(payload, from);
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  socket.bind(0, address);
  await once(socket, 'listening');
  return { port: socket.address().port, socket, close: () => void socket.close() };
}

const echo = (payload: Buffer): Buffer => payload;

async function finished(driven: Driven): Promise<{ code: number | null; stdout: string }> {
  const { code } = await driven.ended;
  return { code, stdout: driven.stdout() };
}

function associations(driven: Driven): string[] {
  return driven.reports.flatMap((report) =>
    report.type === 'association' ? [`${report.destination.address} ${report.destination.port}`] : [],
  );
}

/** In COMMAND: `ask(socket, payload, port, host)` resolves with the answer and its source. */
const ask = `
  const { once } = require('events'); const crypto = require('crypto');
  const open = (type) => dgram.createSocket({ type, recvBufferSize: 4194304 });
  async function ask(socket, payload, port, host) { socket.send(payload, port, host); return await once(socket, 'message'); }
  const failure = (type, port, host) => new Promise((resolve) => {
    const socket = dgram.createSocket(type);
    socket.on('error', (error) => { socket.close(); resolve(error.code); });
    socket.on('message', () => { socket.close(); resolve('answered'); });
    socket.connect(port, host, () => socket.send('x'));
  });
`;

for (const user of users) {
  test.serial(`${user}: datagrams of 0 to 65,507 bytes arrive whole, over both families and on the laptop's loopback`, async (t) => {
    const laptop = await laptopDatagrams(echo);
    t.teardown(laptop.close);
    const driven = drive(
      {
        ipv6: true,
        datagrams: { '10.96.0.9:4433': laptop.port, 'fd12::9:4433': laptop.port },
        command: script(`${ask} (async () => {
          for (const [type, port, host] of [['udp4', 4433, '10.96.0.9'], ['udp6', 4433, 'fd12::9'], ['udp4', ${laptop.port}, '127.0.0.1']]) {
            const socket = open(type); const whole = [];
            for (const size of [0, 1, 2, 511, 1200, 1473, 9001, 65493, 65507]) {
              const payload = crypto.randomBytes(size);
              const [answer, from] = await ask(socket, payload, port, host);
              if (answer.equals(payload) && from.address === host && from.port === port) whole.push(size);
            }
            console.log(host, whole.join());
            socket.close();
          }
        })();`),
      },
      { user },
    );
    const sizes = '0,1,2,511,1200,1473,9001,65493,65507';
    t.deepEqual(
      await finished(driven),
      { code: 0, stdout: `10.96.0.9 ${sizes}\nfd12::9 ${sizes}\n127.0.0.1 ${sizes}\n` },
      JSON.stringify([driven.stderr(), driven.reports]),
    );
    t.deepEqual(associations(driven), ['10.96.0.9 4433', 'fd12::9 4433', `127.0.0.1 ${laptop.port}`]);
  });

  test.serial(`${user}: of many datagrams at the path's rate none is lost or doubled, in two sockets with one destination`, async (t) => {
    const laptop = await laptopDatagrams(echo);
    t.teardown(laptop.close);
    const driven = drive(
      {
        datagrams: { '10.96.0.9:4433': laptop.port },
        // Each socket has 32 datagrams on the way at any time, and sends the next when one is back.
        command: script(`${ask} (async () => {
          const total = 4000;
          const run = (name) => new Promise((resolve) => {
            const socket = open('udp4'); const waiting = new Map(); let sent = 0, back = 0, wrong = 0;
            const pump = () => { while (sent < total && waiting.size < 32) {
              const payload = crypto.randomBytes(1 + (sent * 37) % 1400); const text = name + sent++ + ' ' + payload.toString('hex');
              waiting.set(text, true); socket.send(text, 4433, '10.96.0.9');
            } };
            socket.on('message', (answer) => {
              if (!waiting.delete(String(answer))) wrong++;
              if (++back === total) { socket.close(); resolve([back, wrong, waiting.size].join()); } else pump();
            });
            pump();
          });
          console.log((await Promise.all([run('a'), run('b')])).join(' '));
        })();`),
      },
      { user },
    );
    t.deepEqual(await finished(driven), { code: 0, stdout: '4000,0,0 4000,0,0\n' }, JSON.stringify(driven.reports.slice(-2)));
    t.is(associations(driven).length, 2);
    const { counters } = await driven.report('datagrams', (report) => report.counters.received === 8000);
    t.like(counters, { opened: 2, sent: 8000, dropped: 0, overrun: 0 });
  });

  test.serial(`${user}: one socket with 300 destinations gets each one's answer from where it was sent to`, async (t) => {
    const laptop = await laptopDatagrams(echo);
    t.teardown(laptop.close);
    const hosts = Array.from({ length: 300 }, (_, index) => `10.96.${1 + Math.floor(index / 200)}.${1 + (index % 200)}`);
    const driven = drive(
      {
        datagrams: Object.fromEntries(hosts.map((host) => [`${host}:443`, laptop.port])),
        command: script(`
          const hosts = ${JSON.stringify(hosts)}; const socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 4194304 }); let right = 0; let sent = 0;
          const next = () => { if (sent < hosts.length) socket.send(hosts[sent], 443, hosts[sent++]); };
          socket.on('message', (payload, from) => {
            if (String(payload) === from.address && from.port === 443) right++;
            if (right === hosts.length) { console.log('all'); socket.close(); } else next();
          });
          socket.bind(0, () => { for (let i = 0; i < 20; i++) next(); });`),
      },
      { user },
    );
    t.deepEqual(await finished(driven), { code: 0, stdout: 'all\n' }, JSON.stringify(driven.reports.slice(-2)));
  });

  test.serial(`${user}: a socket on the wildcard talks to its own port number elsewhere, and others may still listen there`, async (t) => {
    const laptop = await laptopDatagrams(echo);
    t.teardown(laptop.close);
    const driven = drive(
      {
        datagrams: { '10.96.0.9:5060': laptop.port, '10.96.0.9:5061': laptop.port },
        command: script(`${ask} (async () => {
          const socket = open('udp4'); socket.bind(5060); await once(socket, 'listening');
          console.log(String((await ask(socket, 'same', 5060, '10.96.0.9'))[0]));
          console.log(String((await ask(socket, 'other', 5061, '10.96.0.9'))[0]));
          const late = open('udp4'); late.bind(5061); await once(late, 'listening'); console.log('bound');
          socket.close(); late.close();
        })();`),
      },
      { user },
    );
    t.deepEqual(await finished(driven), { code: 0, stdout: 'same\nother\nbound\n' });
  });

  test.serial(
    `${user}: a destination that refuses is an error of COMMAND's connected socket, and one that is not there an ICMP error`,
    async (t) => {
      const free = await laptopDatagrams(echo);
      await new Promise<void>((resolve) => free.socket.close(() => resolve()));
      const driven = drive(
        {
          ipv6: true,
          datagrams: { '10.96.0.66:7': 0, 'fd12::66:7': 0 },
          // Host unreachable is no error of a UDP socket unless it asks (ip(7), IP_RECVERR): the network's own count has it.
          command: script(`${ask} (async () => {
          for (const [type, host] of [['udp4', '10.96.0.9'], ['udp6', 'fd12::9']]) console.log(await failure(type, 7, host));
          console.log(await failure('udp4', ${free.port}, '127.0.0.1'));
          const { readFileSync } = require('fs');
          const count = () => {
            const [names, values] = readFileSync('/proc/net/snmp', 'utf8').split('\\n').filter((line) => line.startsWith('Icmp:')).map((line) => line.split(' '));
            return [Number(values[names.indexOf('InDestUnreachs')]), Number(/Icmp6InDestUnreachs\\s+(\\d+)/.exec(readFileSync('/proc/net/snmp6', 'utf8'))[1])];
          };
          const [before4, before6] = count();
          const four = open('udp4'); const six = open('udp6');
          four.send('x', 7, '10.96.0.66'); six.send('x', 7, 'fd12::66');
          const timer = setInterval(() => {
            const [after4, after6] = count();
            if (after4 > before4 && after6 > before6) { console.log('unreachable'); clearInterval(timer); four.close(); six.close(); }
          }, 20);
        })();`),
        },
        { user },
      );
      t.is((await finished(driven)).stdout, 'ECONNREFUSED\nECONNREFUSED\nECONNREFUSED\nunreachable\n', driven.stderr());
      t.false(driven.reports.some((report) => report.type === 'refused'));
    },
  );

  test.serial(`${user}: dig asks a server on another port than 53, and reaches it`, async (t) => {
    const server = await laptopDatagrams((query) => {
      const reply = Buffer.from(query);
      reply.writeUInt16BE(0x8185, 2); // REFUSED: nothing here answers so but this
      return reply;
    });
    t.teardown(server.close);
    const driven = drive(
      {
        datagrams: { '10.96.0.10:5353': server.port },
        command: [requireProgram('dig', 'bind9-dnsutils'), '+time=10', '+tries=1', '@10.96.0.10', '-p', '5353', 'web.shop'],
      },
      { user },
    );
    t.regex((await finished(driven)).stdout, /status: REFUSED/);
    t.deepEqual(associations(driven), ['10.96.0.10 5353']);
  });

  test.serial(`${user}: a statically linked program's datagrams arrive`, async (t) => {
    const arrived = Promise.withResolvers<string>();
    const server = await laptopDatagrams((payload) => {
      arrived.resolve(String(payload));
      return undefined;
    });
    t.teardown(server.close);
    // Its first request, to write a file (RFC 1350).
    const command = [requireProgram('busybox', 'busybox-static'), 'tftp', '-p', '-l', '/etc/passwd', '-r', 'kpeering', '10.96.0.9', '6969'];
    const driven = drive({ datagrams: { '10.96.0.9:6969': server.port }, command }, { user });
    t.true((await arrived.promise).startsWith('\0\u0002kpeering\0octet\0'));
    driven.process.send('close');
    await driven.ended;
  });

  test.serial(`${user}: what is not the cluster's leaves from the laptop's own sockets`, async (t) => {
    const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).filter((one) => !one.internal && one.family === 'IPv4'));
    const [first] = own;
    if (first === undefined) {
      t.pass('this machine has loopback only');
      return;
    }
    const from = Promise.withResolvers<string>();
    const server = await laptopDatagrams((payload, remote) => {
      from.resolve(remote.address);
      return payload;
    }, first.address);
    t.teardown(server.close);
    const command = script(
      `${ask} ask(open('udp4'), 'hello', ${server.port}, '${first.address}').then(([m]) => { console.log(String(m)); process.exit(); });`,
    );
    const driven = drive({ command }, { user });
    t.is((await finished(driven)).stdout, 'hello\n');
    t.is(await from.promise, first.address);
  });

  test.serial(`${user}: multicast stays inside, and so does IPv6 to port 53, which is told`, async (t) => {
    const driven = drive(
      {
        ipv6: true,
        command: script(`${ask} (async () => {
          const socket = open('udp4');
          await new Promise((resolve) => socket.send('x', 5353, '224.0.0.251', resolve));
          console.log(await failure('udp6', 53, 'fd12::10'));
          socket.close();
        })();`),
      },
      { user },
    );
    t.is((await finished(driven)).stdout, 'ECONNREFUSED\n');
    t.deepEqual(associations(driven), []);
    t.deepEqual(
      driven.reports.filter((report) => report.type === 'refused'),
      [{ type: 'refused', destination: { address: 'fd12::10', port: 53 } }],
    );
  });

  test.serial(`${user}: open associations do not keep kpctl when COMMAND ends`, async (t) => {
    const laptop = await laptopDatagrams(echo);
    t.teardown(laptop.close);
    const driven = drive(
      {
        datagrams: { '10.96.0.9:4433': laptop.port },
        command: script(
          `${ask} ask(open('udp4'), 'last', 4433, '10.96.0.9').then(() => ask(open('udp4'), 'one', ${laptop.port}, '127.0.0.1')).then(() => process.exit(5));`,
        ),
      },
      { user },
    );
    t.is((await driven.ended).code, 5);
    t.is(associations(driven).length, 2);
  });
}
