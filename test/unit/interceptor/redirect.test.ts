import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'ava';
import { listenRedirect, unmapped } from '../../../src/interceptor/index.ts';
import { parseIPv4, parseIPv6 } from '../../../src/interceptor/original-destination.ts';
import { Failure, systemCode } from '../../../src/platform/errors.ts';
import { silentLogger } from '../../../src/platform/log.ts';

test('sockaddr_in and sockaddr_in6 are read in network order', (t) => {
  t.deepEqual(parseIPv4(Buffer.from('02001f900a4d00020000000000000000', 'hex')), { address: '10.77.0.2', port: 8080 });
  const ipv6 = Buffer.from('0a001f9000000000fd00000000000000000000000000000100000000', 'hex');
  t.deepEqual(parseIPv6(ipv6), { address: 'fd00::1', port: 8080 });
});

test('mapped addresses are written as IPv4', (t) => {
  t.is(unmapped('::ffff:10.0.0.1'), '10.0.0.1');
  t.is(unmapped('fd00::1'), 'fd00::1');
  t.is(unmapped('10.0.0.1'), '10.0.0.1');
});

test('a connection that nothing redirected is reset and counted', async (t) => {
  let flows = 0;
  const counters = { ownPortDials: 0 };
  const onFlow = (): void => void (flows += 1);
  await using interceptor = await listenRedirect({ host: '127.0.0.1', port: 0, onFlow, counters, log: silentLogger });
  const socket = connect({ host: '127.0.0.1', port: interceptor.port });
  const error: unknown[] = await once(socket, 'error');
  t.is(systemCode(error[0]), 'ECONNRESET');
  t.is(counters.ownPortDials, 1);
  t.is(flows, 0);
});

test('a port that is taken is a Failure that says so', async (t) => {
  await using first = await listenRedirect({ host: '127.0.0.1', port: 0, onFlow: () => undefined, log: silentLogger });
  const error = await t.throwsAsync(listenRedirect({ host: '127.0.0.1', port: first.port, onFlow: () => undefined, log: silentLogger }), {
    instanceOf: Failure,
  });
  t.is(error.code, 'LISTEN_FAILED');
  t.is(error.likely, 'another program has the port');
});

test('closing twice is fine, and frees the port', async (t) => {
  const first = await listenRedirect({ host: '127.0.0.1', port: 0, onFlow: () => undefined, log: silentLogger });
  await first.close();
  await first.close();
  await using second = await listenRedirect({ host: '127.0.0.1', port: first.port, onFlow: () => undefined, log: silentLogger });
  t.is(second.port, first.port);
});
