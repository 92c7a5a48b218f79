import test from 'ava';
import type { ClaimTarget } from '../../../../src/claims/messages.ts';
import { claimFailure } from '../../../../src/kpctl/links/claim-failures.ts';
import { RequestError } from '../../../../src/tunnel/index.ts';

const captured = { mode: 'tproxy', tcp: ['80', '8000-8080'], udp: ['53'], outbound: ['5432'] };

function notCaptured(target: ClaimTarget, details: object = captured): string {
  return claimFailure('web-1', target, new RequestError('port-not-captured', 'not captured', { details })).format();
}

test('a port without a rule: the captured ports, and the variable that adds one', (t) => {
  t.is(
    notCaptured({ protocol: 'tcp', port: 9090 }),
    "port 9090 of pod web-1 is not captured by the pod's rules (captured ports in tproxy mode: TCP 80, 8000-8080; UDP 53); " +
      "add 9090 to KPEERING_INBOUND_PORTS of the pod template's kpeering init container, and wait for the rollout [PORT_NOT_CAPTURED]",
  );
  t.regex(notCaptured({ protocol: 'udp', port: 5353 }), /; add 5353 to KPEERING_INBOUND_UDP_PORTS of /);
  t.regex(
    notCaptured({ protocol: 'tcp', port: 80, address: '10.96.0.7' }),
    /^destination 10\.96\.0\.7:80 of pod web-1 is not .*captured outbound ports: 5432\); add 80 to KPEERING_OUTBOUND_PORTS of /,
  );
});

test('what is captured but for an exclusion: the exclusion', (t) => {
  t.regex(
    notCaptured({ protocol: 'tcp', port: 9090 }, { ...captured, tcp: ['*'] }),
    /TCP all; .*take 9090 out of KPEERING_EXCLUDE_INBOUND_PORTS/,
  );
  t.regex(notCaptured({ protocol: 'udp', port: 53 }), /UDP 53\); take 53 out of KPEERING_EXCLUDE_INBOUND_PORTS/);
  t.regex(
    notCaptured({ protocol: 'tcp', port: 5432, address: '10.96.0.7' }),
    /look at KPEERING_OUTBOUND_CIDRS and .*KPEERING_EXCLUDE_OUTBOUND_/,
  );
});

test('UDP in redirect mode: the mode first', (t) => {
  t.regex(
    notCaptured({ protocol: 'udp', port: 53 }, { mode: 'redirect', tcp: ['*'], udp: [], outbound: [] }),
    /captured ports in redirect mode: TCP all; UDP none\); UDP needs KPEERING_MODE=tproxy .*add 53 to KPEERING_INBOUND_UDP_PORTS/,
  );
});

test('details that are not understood: the sidecar’s own words', (t) => {
  t.regex(notCaptured({ protocol: 'tcp', port: 80 }, {}), /\(not captured\); add 80 to KPEERING_INBOUND_PORTS/);
});

test('a holder is named, another refusal is quoted, and a lost tunnel is no refusal', (t) => {
  const target = { protocol: 'udp', port: 53 } as const;
  const held = new RequestError('held', 'held', { details: { name: 'bob@build', since: 'noon', away: true } });
  t.like(claimFailure('web-1', target, held), {
    code: 'PORT_HELD',
    message: 'port 53/udp of pod web-1 is claimed by bob@build since noon',
  });
  t.like(claimFailure('web-1', target, new RequestError('draining', 'the pod is about to end')), {
    code: 'CLAIM_REFUSED',
    message: 'pod web-1 refused the claim of port 53/udp: the pod is about to end',
  });
  t.like(claimFailure('web-1', target, new RequestError('lost', 'lost')), { code: 'TUNNEL_LOST' });
});
