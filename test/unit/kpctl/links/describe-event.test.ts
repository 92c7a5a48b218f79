import test from 'ava';
import { describeHolder } from '../../../../src/kpctl/links/claim-failures.ts';
import { describeLinkEvent, linkEventFields } from '../../../../src/kpctl/links/describe-event.ts';

const holder = { name: 'alice@mbp', user: 'alice@example.org', since: '2026-11-21T09:00:00.000Z' };

const target = { protocol: 'tcp', port: 80 } as const;

test('a loss says why, and what became of the connections', (t) => {
  t.is(
    describeLinkEvent('web-1', { kind: 'lost', cause: 'the transport was closed' }),
    'web-1: the tunnel was lost (the transport was closed), open connections were reset; reconnecting',
  );
});

test('a claim that somebody took meanwhile names them', (t) => {
  t.is(
    describeLinkEvent('web-1', { kind: 'claim-taken', target, holder }),
    'web-1: port 80 was claimed meanwhile by alice@mbp (API user "alice@example.org") since 2026-11-21T09:00:00.000Z; waiting until it is free',
  );
  t.is(describeHolder({ name: 'alice@mbp', since: 'noon' }), 'alice@mbp since noon');
});

test('every other event is one line that names the pod', (t) => {
  const events = [
    { kind: 'joined', target },
    { kind: 'claimed-too', target },
    { kind: 'retrying', cause: 'connection refused' },
    { kind: 'reconnected' },
    { kind: 'claimed-again', target },
    { kind: 'claim-failed', target, cause: 'bad-parameters' },
    { kind: 'gone' },
  ] as const;
  for (const event of events) t.regex(describeLinkEvent('web-1', event), /^web-1: [^\n]+$/);
});

test('connections that stay with the app are counted, and their end is told', (t) => {
  const staying = (connections: number): string => describeLinkEvent('web-7d9', { kind: 'staying', target, connections });
  t.is(staying(3), '3 established connections of port 80 stay with the app in web-7d9 until they end');
  t.is(staying(1), '1 established connection of port 80 stays with the app in web-7d9 until it ends');
  t.is(
    describeLinkEvent('web-7d9', { kind: 'staying-ended', target: { ...target, address: '10.96.0.7' } }),
    'web-7d9: all connections of destination 10.96.0.7:80 that stayed with the app have ended',
  );
});

test('as JSON an event is flat: protocol, port and address are its own fields', (t) => {
  t.deepEqual(linkEventFields('web-1', { kind: 'gone' }), { event: 'gone', pod: 'web-1' });
  t.deepEqual(linkEventFields('web-1', { kind: 'staying', target: { protocol: 'udp', port: 53 }, connections: 2 }), {
    event: 'staying',
    pod: 'web-1',
    protocol: 'udp',
    port: 53,
    connections: 2,
  });
});
