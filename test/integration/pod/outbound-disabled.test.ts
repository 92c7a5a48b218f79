import test from 'ava';
import { OpenError, type AssociationEnd } from '../../../src/tunnel/index.ts';
import { laptopProcess } from './peers.ts';
import { Pod, nodeAddress, shout, textOf, tproxy } from './pod.ts';

test('a pod whose outbound is disabled dials nothing for a laptop, over TCP or UDP, and its ports are claimed as ever', async (t) => {
  await using pod = await Pod.start([], { ...tproxy, KPEERING_INBOUND_PORTS: '8080', KPEERING_OUTBOUND: 'disabled' });
  const server = await pod.node.listen({ host: nodeAddress, port: 0 });
  server.on('connection', shout);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const laptop = await pod.laptop(laptopProcess('alice'));
  const destination = { address: nodeAddress, port };

  const error = await t.throwsAsync(laptop.session.open({ kind: 'dial', destination }), { instanceOf: OpenError });
  t.is(error?.errorClass, 'denied');
  t.regex(error?.message ?? '', /kpeering\.io\/outbound/u);
  const source = { address: '127.0.0.1', port: 4000 };
  const ended = Promise.withResolvers<AssociationEnd>();
  laptop.session.openAssociation({ kind: 'dial', destination, source }).attach({ datagram: () => undefined, closed: ended.resolve });
  t.like(await ended.promise, { kind: 'refused', errorClass: 'denied' });

  await laptop.claim(8080);
  const caller = await pod.call(8080);
  caller.end('x');
  t.is(await textOf(caller), 'alice heard x');
});
