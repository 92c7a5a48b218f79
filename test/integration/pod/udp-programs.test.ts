import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { answerAssociation, answerDial } from '../../../src/forwarder/index.ts';
import { requireProgram } from '../../../src/platform/programs.ts';
import { Pod, podAddress, podAddress6, tproxy, type Laptop } from './pod.ts';
import { udp } from './udp-peers.ts';

const dns = 5353;
const iperf = 5201;
let pod: Pod;
test.before(async () => {
  pod = await Pod.start([], { ...tproxy, KPEERING_INBOUND_PORTS: `${iperf}`, KPEERING_INBOUND_UDP_PORTS: `${dns},${iperf}` });
});
test.after.always(async () => pod.close());

/** A port that is free now, of UDP and, most likely, of TCP. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

/** Starts a server of the laptop; resolves when it has said `ready`. It ends with the test. */
async function start(t: ExecutionContext, program: string, flags: readonly string[], ready: RegExp): Promise<ChildProcess> {
  const child = spawn(program, flags, { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const said = Promise.withResolvers<void>();
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (line) => {
      lines.push(line);
      if (ready.test(line)) said.resolve();
    });
  }
  void exited.then(() => said.reject(new Error(`${program} has ended: ${lines.join('\n')}`)));
  await said.promise;
  return child;
}

/** A laptop whose flows of both protocols all go to one port of its own. */
async function laptopTo(port: number): Promise<Laptop> {
  const local = { address: '127.0.0.1', port };
  return pod.laptop(
    (incoming) => void answerDial(incoming, local),
    {},
    { incomingAssociation: (incoming) => void answerAssociation(incoming, local) },
  );
}

const text = 'x'.repeat(250);

test('a DNS server on the laptop answers dig over UDP, large answers and both families too', async (t) => {
  const port = await freePort();
  const user = process.getuid?.() === 0 ? ['--user=root'] : [];
  const records = [
    '--address=/web.example.test/192.0.2.7',
    `--txt-record=large.example.test,${Array.from({ length: 12 }, () => text).join(',')}`,
  ];
  const flags = ['--no-daemon', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file=', '--edns-packet-max=4096', ...user];
  const listen = ['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${port}`];
  await start(t, requireProgram('dnsmasq', 'dnsmasq-base'), [...flags, ...listen, ...records], /started, version/u);
  const laptop = await laptopTo(port);
  await laptop.claim(udp(dns));
  const ask = async (server: string, ...question: string[]): Promise<string> =>
    pod.node.run('dig', [`@${server}`, '-p', String(dns), '+tries=5', '+time=5', '+noedns', '+short', ...question]);
  t.is((await ask(podAddress, 'web.example.test')).trim(), '192.0.2.7');
  t.is((await ask(podAddress6, 'web.example.test')).trim(), '192.0.2.7');
  // One datagram of 3 kB, which crosses the network in fragments; +ignore: without going over to TCP.
  const large = await ask(podAddress, '+edns=0', '+bufsize=4096', '+ignore', 'large.example.test', 'TXT');
  t.is(large.split(text).length, 13);
  await laptop.session.close();
});

const report = z.object({ end: z.object({ sum: z.object({ packets: z.number(), lost_percent: z.number() }) }) });

for (const direction of ['to', 'from'] as const) {
  test.serial(`iperf3 -u ${direction} the laptop loses nothing that is worth the name within the rate of the path`, async (t) => {
    const port = await freePort();
    await start(t, requireProgram('iperf3', 'iperf3'), ['-s', '-p', String(port), '-B', '127.0.0.1', '--forceflush'], /listening/iu);
    const laptop = await laptopTo(port);
    await laptop.claim(iperf);
    await laptop.claim(udp(iperf));
    const reverse = direction === 'from' ? ['-R'] : [];
    const flags = ['-u', '-c', podAddress, '-p', String(iperf), '-b', '1M', '-l', '1200', '-t', '2', '--json', ...reverse];
    const { packets, lost_percent: lost } = report.parse(JSON.parse(await pod.node.run('iperf3', flags))).end.sum;
    t.true(packets > 100, String(packets));
    // A machine that stands still for a second overflows the kernel's buffers.
    t.true(lost < 10, String(lost));
    await laptop.session.close();
  });
}
