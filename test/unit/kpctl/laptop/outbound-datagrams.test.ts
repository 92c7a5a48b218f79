import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import test from 'ava';
import { Notices } from '../../../../src/kpctl/links/notices.ts';
import { outboundDatagrams } from '../../../../src/kpctl/laptop/outbound-datagrams.ts';
import {
  OpenError,
  type AssociationEnd,
  type DatagramSink,
  type Endpoint,
  type OpenRequest,
  type Session,
  type TunnelAssociation,
} from '../../../../src/tunnel/index.ts';

const source = { address: '198.18.0.2', port: 40_000 };
const destination = { address: '10.96.0.9', port: 4433 };

/** A session that keeps what it is given. */
class Recorder {
  readonly requests: OpenRequest[] = [];
  readonly sent: string[] = [];
  readonly closed: string[] = [];
  sink: DatagramSink | undefined;

  openAssociation(request: OpenRequest): TunnelAssociation {
    this.requests.push(request);
    return {
      id: 1,
      attach: (sink) => (this.sink = sink),
      send: (payload) => this.sent.push(String(payload)) > 0,
      close: () => void this.closed.push('closed'),
    };
  }
}

function stage(session: () => Promise<Pick<Session, 'openAssociation'>>) {
  const lines: string[] = [];
  const refused: [Endpoint, string][] = [];
  const carry = outboundDatagrams({
    isCluster: (address) => address.startsWith('10.96.'),
    session,
    notices: new Notices((line) => lines.push(line)),
    onRefused: (endpoint, reason) => refused.push([endpoint, reason]),
  });
  /** Opens an association as the table does, and answers with what came of it. */
  function open(to: Endpoint = destination) {
    const association = carry({ source, destination: to });
    const answers: string[] = [];
    const ended = Promise.withResolvers<AssociationEnd>();
    association.attach({ datagram: (payload) => void answers.push(String(payload)), closed: (reason) => ended.resolve(reason) });
    return { association, answers, ended: ended.promise };
  }
  return { open, lines, refused };
}

test('datagrams that come before there is a session are sent when there is one, a few of them', async (t) => {
  const session = new Recorder();
  const coming = Promise.withResolvers<Recorder>();
  const { association, answers } = stage(() => coming.promise).open();
  const taken = Array.from({ length: 70 }, (_, index) => association.send(Buffer.from(`${index}`)));
  t.is(taken.filter(Boolean).length, 64);
  coming.resolve(session);
  await new Promise(setImmediate);
  t.true(association.send(Buffer.from('later')));
  t.deepEqual(session.requests, [{ kind: 'dial', destination, source }]);
  t.deepEqual(session.sent, [...Array.from({ length: 64 }, (_, index) => `${index}`), 'later']);
  session.sink?.datagram(Buffer.from('answer'));
  t.deepEqual(answers, ['answer']);
  association.close();
  t.deepEqual(session.closed, ['closed']);
});

test('what is closed before there is a session is closed in it', async (t) => {
  const session = new Recorder();
  const coming = Promise.withResolvers<Recorder>();
  const { association } = stage(() => coming.promise).open();
  association.close();
  coming.resolve(session);
  await new Promise(setImmediate);
  t.deepEqual([session.sent, session.closed], [[], ['closed']]);
});

test('a far end that does not know datagrams is told once for each destination', async (t) => {
  const { open, lines, refused } = stage(() =>
    Promise.resolve({
      openAssociation: () => {
        throw new OpenError('unsupported', 'an old release');
      },
    }),
  );
  for (let times = 0; times < 3; times += 1) t.like(await open().ended, { kind: 'refused', errorClass: 'unsupported' });
  await open({ address: '10.96.0.10', port: 53 }).ended;
  t.deepEqual(refused, [
    [destination, 'an old release'],
    [{ address: '10.96.0.10', port: 53 }, 'an old release'],
  ]);
  t.deepEqual(lines, []);
});

test("the far end's refusal is told and ends the association", async (t) => {
  const session = new Recorder();
  const { open, lines } = stage(() => Promise.resolve(session));
  const { ended } = open();
  await new Promise(setImmediate);
  session.sink?.closed({ kind: 'refused', errorClass: 'refused', message: 'ECONNREFUSED' });
  t.like(await ended, { kind: 'refused', errorClass: 'refused' });
  t.deepEqual(lines, ['UDP to 10.96.0.9:4433 through the cluster: refused: ECONNREFUSED']);
});

test('no session in time counts as unreachable, a session that is lost meanwhile as nothing', async (t) => {
  const none = stage(() => Promise.reject(new Error('no tunnel for 10 s')));
  t.like(await none.open().ended, { kind: 'refused', errorClass: 'unreachable' });
  t.is(none.lines.length, 1);
  const lost = stage(() => Promise.reject(new OpenError('lost', 'lost')));
  t.deepEqual(await lost.open().ended, { kind: 'session-lost' });
  t.deepEqual(lost.lines, []);
});

test("an address that is not the cluster's is reached from this machine, and its refusal comes back", async (t) => {
  const server = createSocket('udp4');
  server.on('message', (payload, from) => server.send(`${String(payload)}!`, from.port, from.address));
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const to = { address: '127.0.0.1', port: server.address().port };
  const { open } = stage(() => Promise.reject(new Error('not asked')));
  const first = open(to);
  first.association.send(Buffer.from('one'));
  first.association.send(Buffer.from('two'));
  while (first.answers.length < 2) await new Promise(setImmediate);
  t.deepEqual(first.answers, ['one!', 'two!']);
  first.association.close();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  const second = open(to);
  second.association.send(Buffer.from('gone'));
  t.like(await second.ended, { kind: 'refused', errorClass: 'refused' });
});
