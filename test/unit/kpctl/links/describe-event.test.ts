import test from 'ava';
import { describeLinkEvent } from '../../../../src/kpctl/links/describe-event.ts';
import { describeHolder } from '../../../../src/kpctl/links/pod-link.ts';

const holder = { name: 'alice@mbp', user: 'alice@example.org', since: '2026-11-21T09:00:00.000Z' };

test('a loss says why, and what became of the connections', (t) => {
  t.is(
    describeLinkEvent('web-1', { kind: 'lost', cause: 'the transport was closed' }),
    'web-1: the tunnel was lost (the transport was closed), open connections were reset; reconnecting',
  );
});

test('a claim that somebody took meanwhile names them', (t) => {
  t.is(
    describeLinkEvent('web-1', { kind: 'claim-taken', port: 80, holder }),
    'web-1: port 80 was claimed meanwhile by alice@mbp (API user "alice@example.org") since 2026-11-21T09:00:00.000Z; waiting until it is free',
  );
  t.is(describeHolder({ name: 'alice@mbp', since: 'noon' }), 'alice@mbp since noon');
});

test('every other event is one line that names the pod', (t) => {
  const events = [
    { kind: 'joined', port: 80 },
    { kind: 'retrying', cause: 'connection refused' },
    { kind: 'reconnected' },
    { kind: 'claimed-again', port: 80 },
    { kind: 'claim-failed', port: 80, cause: 'bad-parameters' },
    { kind: 'gone' },
  ] as const;
  for (const event of events) t.regex(describeLinkEvent('web-1', event), /^web-1: [^\n]+$/);
});
