import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { answerAssociation, answerDial } from '../../../../src/forwarder/index.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import { decodeAnswers, RCODE, TYPE } from '../../../../src/simulator/dns/message.ts';
import { createResolver } from '../../../../src/simulator/dns/resolver.ts';
import { startDnsServer } from '../../../../src/simulator/dns/server.ts';
import { createTunnelUpstream } from '../../../../src/simulator/dns/tunnel-upstream.ts';
import { NoServerError, UpstreamError } from '../../../../src/simulator/dns/upstream.ts';
import { createZone } from '../../../../src/simulator/dns/zone.ts';
import { acceptSession, connectSession, newSessionId } from '../../../../src/tunnel/index.ts';
import type { Endpoint, PeerNames, Session } from '../../../../src/tunnel/index.ts';
import { handlers, laptopHello, podHello, socketPair } from '../../tunnel/pair.ts';
import { query, shop } from './fixtures.ts';

const clusterNames: PeerNames = { servers: ['10.96.0.10'], search: ['shop.svc.corp.example', 'svc.corp.example', 'corp.example'] };

interface World {
  readonly session: Session;
  /** Destinations that were dialled from the pod. */
  readonly dialled: string[];
}

/** A session with a pod whose name server at 10.96.0.10:53 answers from the records of `shop`; others are silent, or refuse connections. */
async function world(t: ExecutionContext, names: PeerNames | undefined): Promise<World> {
  const records = shop();
  const any = { address: '127.0.0.1', port: 0 };
  const zone = createZone({ records, domain: 'corp.example' });
  const server = await startDnsServer({
    udp: [any],
    tcp: [any],
    resolve: createResolver({ zone, records, log: silentLogger }),
    log: silentLogger,
  });
  const dialled: string[] = [];
  const there = (protocol: 'udp' | 'tcp', { address, port }: Endpoint): Endpoint => {
    dialled.push(`${protocol} ${address}:${port}`);
    return address === '10.96.0.10' ? { address: '127.0.0.1', port: server[protocol][0]?.port ?? 0 } : { address: '127.0.0.1', port: 1 };
  };
  const [near, far] = await socketPair();
  const pod = handlers({
    incoming: (stream) => void answerDial(stream, there('tcp', stream.request.destination)),
    incomingAssociation: (association) => void answerAssociation(association, there('udp', association.request.destination)),
  });
  const [session, podSession] = await Promise.all([
    connectSession(
      { description: 'the pair of a test', connect: async () => await Promise.resolve(near) },
      { ...laptopHello, id: newSessionId() },
      handlers(),
    ),
    acceptSession(far, { ...podHello, ...(names !== undefined && { names }) }, pod),
  ]);
  t.teardown(async () => {
    await Promise.all([session.close(), podSession.close(), server.close()]);
    for (const socket of [near, far]) if (!socket.closed) await once(socket, 'close');
  });
  return { session, dialled };
}

test("the far end's own name servers are asked from there, by UDP and by TCP", async (t) => {
  const { session, dialled } = await world(t, clusterNames);
  t.deepEqual(session.peer.names, clusterNames);
  const upstream = createTunnelUpstream({ session: async () => await Promise.resolve(session) });
  for (const transport of ['udp', 'tcp'] as const) {
    const asked = query('web.shop.svc.corp.example', TYPE.A, transport);
    const answer = await upstream.query(asked.bytes, transport);
    t.is(answer.readUInt16BE(0), asked.id);
    t.is(decodeAnswers(answer).answers[0]?.address, '10.96.77.1');
  }
  t.deepEqual(dialled, ['udp 10.96.0.10:53', 'tcp 10.96.0.10:53']);
  t.is(decodeAnswers(await upstream.query(query('nothing.corp.example', TYPE.A).bytes, 'udp')).rcode, RCODE.NXDOMAIN);
});

test('the next server is asked when the first does not answer', async (t) => {
  const { session, dialled } = await world(t, { ...clusterNames, servers: ['192.0.2.1', '10.96.0.10'] });
  const upstream = createTunnelUpstream({ session: async () => await Promise.resolve(session) });
  for (const transport of ['udp', 'tcp'] as const) {
    const answer = await upstream.query(query('web.shop.svc.corp.example', TYPE.A, transport).bytes, transport);
    t.is(decodeAnswers(answer).answers.length, 1);
  }
  t.deepEqual(dialled, ['udp 192.0.2.1:53', 'udp 10.96.0.10:53', 'tcp 192.0.2.1:53', 'tcp 10.96.0.10:53']);
});

test('nobody to ask: an older peer, and a pod that does not use the DNS of its cluster', async (t) => {
  for (const names of [undefined, { servers: ['192.0.2.1'], search: ['corp.example'] }]) {
    const { session, dialled } = await world(t, names);
    const upstream = createTunnelUpstream({ session: async () => await Promise.resolve(session) });
    await t.throwsAsync(upstream.query(query('web', TYPE.A).bytes, 'udp'), { instanceOf: NoServerError });
    t.deepEqual(dialled, []);
  }
});

test('a server that refuses, a session that ends, and one that does not come are told in time', async (t) => {
  const { session } = await world(t, { ...clusterNames, servers: ['192.0.2.1'] });
  const upstream = createTunnelUpstream({ session: async () => await Promise.resolve(session) });
  const { bytes } = query('web.shop.svc.corp.example', TYPE.A);
  await t.throwsAsync(upstream.query(bytes, 'udp'), { instanceOf: UpstreamError, message: /192\.0\.2\.1:53/u });
  await t.throwsAsync(upstream.query(bytes, 'tcp'), { instanceOf: UpstreamError, message: /192\.0\.2\.1|127\.0\.0\.1/u });
  await session.close();
  await t.throwsAsync(upstream.query(bytes, 'udp'), { instanceOf: UpstreamError });
  const never = createTunnelUpstream({ session: async () => await new Promise<Session>(() => {}), patienceMilliseconds: 20 });
  await t.throwsAsync(never.query(bytes, 'udp'), { instanceOf: UpstreamError, message: /in time/u });
  const stop = new AbortController();
  const stopped = never.query(bytes, 'udp', { signal: stop.signal });
  stop.abort(new Error('stopped'));
  await t.throwsAsync(stopped, { message: 'stopped' });
});

test('a question that is given up before it is asked asks nobody, and is no error that nobody hears', async (t) => {
  const session = async (): Promise<never> => await Promise.reject(new Error('there is no tunnel'));
  const upstream = createTunnelUpstream({ session });
  const signal = AbortSignal.abort(new Error('given up'));
  await t.throwsAsync(upstream.query(query('web.shop.svc.corp.example', TYPE.A).bytes, 'udp', { signal }), { message: 'given up' });
});
