import type { Socket } from 'node:net';
import test from 'ava';
import { notCapturedSchema } from '../../../src/claims/messages.ts';
import { RequestError, type OpenRequest } from '../../../src/tunnel/index.ts';
import { ask, laptopProcess } from './peers.ts';
import { Pod, failureOf, nodeAddress, nodeAddress6, podAddress, shout, textOf, tproxy } from './pod.ts';

for (const mode of ['tproxy', 'redirect'] as const) {
  const environment = {
    ...tproxy,
    KPEERING_MODE: mode,
    KPEERING_OUTBOUND_PORTS: '7001-7099',
    KPEERING_EXCLUDE_OUTBOUND_PORTS: '7090',
  };

  test.serial(`${mode} mode: the pod's own calls go to where they went, or to the laptop that claims their destination`, async (t) => {
    await using pod = await Pod.start([], environment);
    const sources: string[] = [];
    const serve = async (port: number, host: string): Promise<void> => {
      const server = await pod.node.listen({ host, port });
      server.on('connection', (socket: Socket) => {
        socket.on('error', () => undefined);
        sources.push(socket.remoteAddress ?? '');
        shout(socket);
      });
    };
    await serve(7001, '::');
    await serve(7002, '::');
    const call = async (port: number, host = nodeAddress, text = 'x'): Promise<string> => {
      const socket = await pod.namespace.connect({ host, port });
      socket.end(text);
      return textOf(socket);
    };
    t.is(await call(7001, nodeAddress, 'hello'), 'HELLO');
    t.is(await call(7001, nodeAddress6, 'hello'), 'HELLO');
    t.deepEqual(sources.slice(0, 1), [`::ffff:${podAddress}`]);

    const requests: OpenRequest[] = [];
    const laptop = await pod.laptop(laptopProcess('alice', requests));
    t.deepEqual(await laptop.claim({ protocol: 'tcp', port: 7001, address: nodeAddress }), { again: false, staying: 0 });
    t.is(await call(7001), 'alice heard x');
    t.like(requests[0], { kind: 'claimed', outbound: true, destination: { address: nodeAddress, port: 7001 } });
    // Another port, and another address, are not claimed.
    t.is(await call(7002), 'X');
    t.is(await call(7001, nodeAddress6), 'X');
    await laptop.claim({ protocol: 'tcp', port: 7001, address: 'FD77:0:0::1' });
    t.is(await call(7001, nodeAddress6), 'alice heard x');
    // What the laptop dials through the pod is not the pod's own.
    const stream = await laptop.session.open({ kind: 'dial', destination: { address: nodeAddress, port: 7002 } });
    stream.reset();
    // A claim of the same port inbound is another one.
    await laptop.claim(7001);
    t.is(requests.length, 2);
    t.is(await ask(pod, 7001), 'alice heard x');
    t.is(requests[2]?.kind === 'claimed' ? requests[2].outbound : true, undefined);

    const error = await t.throwsAsync(laptop.claim({ protocol: 'tcp', port: 6000, address: nodeAddress }), { instanceOf: RequestError });
    t.is(error.code, 'port-not-captured');
    t.deepEqual(notCapturedSchema.parse(error.details).outbound, ['7001-7099']);
    await t.throwsAsync(laptop.claim({ protocol: 'tcp', port: 7090, address: nodeAddress }), {
      message: /left out by .*EXCLUDE_OUTBOUND_PORTS/u,
    });
    await laptop.session.close();
    t.is(await call(7001), 'X');
  });

  test.serial(`${mode} mode: a destination that cannot be reached is a reset, and our own ports are never dialled`, async (t) => {
    await using pod = await Pod.start([], environment);
    t.is(await failureOf(pod.namespace.connect({ host: nodeAddress, port: 7050 })), 'ECONNRESET');
    for (const host of ['127.0.0.1', '::1']) t.is(await failureOf(pod.namespace.connect({ host, port: 15_301 })), 'ECONNRESET', host);
    // In redirect mode the inbound capture has it, in tproxy mode nobody listens.
    t.is(await failureOf(pod.namespace.connect({ host: podAddress, port: 15_301 })), mode === 'redirect' ? 'ECONNRESET' : 'ECONNREFUSED');
    const health = await pod.call(15_320);
    health.write('GET /metrics HTTP/1.0\r\n\r\n');
    t.regex(await textOf(health), mode === 'redirect' ? /^kpeering_own_port_dials_total 3$/mu : /^kpeering_own_port_dials_total 2$/mu);
  });
}

test.serial('a sidecar that the rules do not know is not caught in a loop', async (t) => {
  // The init container exempts a mark, and the sidecar does not have it.
  const environment = { KPEERING_MODE: 'redirect', KPEERING_OUTBOUND_PORTS: '*', KPEERING_EXEMPT_MARK: '7' };
  await using pod = await Pod.start([], environment, ['env', '-u', 'KPEERING_EXEMPT_MARK']);
  const server = await pod.node.listen({ host: '0.0.0.0', port: 7001 });
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections += 1;
    socket.destroy();
  });
  t.is(await failureOf(pod.namespace.connect({ host: nodeAddress, port: 7001 })), 'ECONNRESET');
  t.is(connections, 0);
  await pod.sidecar.logs('the rules do not know the sidecar');
});
