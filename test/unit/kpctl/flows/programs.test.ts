import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import test from 'ava';
import { findLinuxPrograms } from '../../../../src/kpctl/flows/programs/linux-programs.ts';
import { findNetstatPrograms } from '../../../../src/kpctl/flows/programs/netstat-programs.ts';
import type { Sought } from '../../../../src/kpctl/flows/programs/program.ts';
import { parseSocketTable } from '../../../../src/kpctl/flows/programs/socket-tables.ts';
import { portOf } from '../../tunnel/pair.ts';

function sought(protocol: 'tcp' | 'udp', local: number, remote?: number, address = '127.0.0.1'): Sought {
  const program = { local: { address, port: local }, ...(remote !== undefined && { remote: { address, port: remote } }) };
  return { flow: { protocol, direction: 'out', program }, network: undefined };
}

test('the kernel’s tables are read in both families, and IPv4 over IPv6 is IPv4', (t) => {
  const names = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
  const four = '   0: 0100007F:1F90 0B00000A:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000 20 4 30 10 -1\n';
  const mapped =
    '   1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000B00000A:C351 01 00000000:00000000 00:00000000 00000000 0 0 4712 1\n';
  const six = '   2: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 33 0 4713 1\n';
  const nobody = '   3: 0100007F:1F91 0B00000A:C350 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000\n';
  const big = new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1;
  if (big) t.fail('these lines are of a little-endian machine');
  t.deepEqual(parseSocketTable(names + four + mapped + six + nobody), [
    { local: { address: '127.0.0.1', port: 8080 }, remote: { address: '10.0.0.11', port: 50_000 }, uid: 1000, inode: '4711' },
    { local: { address: '127.0.0.1', port: 80 }, remote: { address: '10.0.0.11', port: 50_001 }, uid: 0, inode: '4712' },
    { local: { address: '::1', port: 80 }, remote: { address: '::', port: 0 }, uid: 33, inode: '4713' },
  ]);
});

for (const [name, find] of [
  ['by the kernel’s tables', findLinuxPrograms],
  ['by the system’s netstat', findNetstatPrograms],
] as const) {
  test(`${name} the program of a connection, of a listener and of a UDP socket is found`, async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const port = portOf(server);
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const datagrams = createSocket('udp4').bind(0, '127.0.0.1');
    await once(datagrams, 'listening');
    const found = await find([
      sought('tcp', socket.localPort ?? 0, port),
      sought('tcp', port),
      sought('udp', datagrams.address().port, 53),
      sought('tcp', 1),
      sought('tcp', socket.localPort ?? 0, 80),
    ]);
    t.deepEqual(
      found.map((program) => program?.pid),
      [process.pid, process.pid, process.pid, undefined, process.pid],
    );
    t.regex(found[0]?.name ?? '', /node|MainThread/);
    socket.destroy();
    server.close();
    datagrams.close();
  });
}
