import test from 'ava';
import { families, images, knownSidecar, Rules, type Environment } from './rules-stage.ts';

/** What only tproxy mode does, with real packets. */
const programs = images['nft only'];
const tproxy = (rules: Rules, options: Environment): Environment => ({
  KPEERING_MODE: 'tproxy',
  KPEERING_RULES_FILE: rules.file,
  ...knownSidecar,
  ...options,
});

test.serial('a rule without a listener does nothing: the app answers, before and after there was one, TCP and UDP', async (t) => {
  await using rules = await Rules.in(t, programs);
  await rules.apply(tproxy(rules, { KPEERING_INBOUND_PORTS: '8080,9000-9100', KPEERING_INBOUND_UDP_PORTS: '5353-5354' }));
  const { tcp, udp } = rules.document();
  t.deepEqual(
    [tcp, udp],
    [
      { 8080: 15_500, '9000-9100': 15_501 },
      { 5353: 15_500, 5354: 15_501 },
    ],
  );
  const [app, caller] = [await rules.inside(), await rules.outside()];
  for (const port of [8080, 9050]) await app.serve('app', port);
  for (const port of [5353, 5354]) await app.serve('app', port, { protocol: 'udp' });
  const answers = async (): Promise<string[]> => [
    ...(await Promise.all(families.flatMap(({ pod }) => [8080, 9050].map(async (port) => caller.who(pod, port))))),
    ...(await Promise.all(families.flatMap(({ pod }) => [5353, 5354].map(async (port) => caller.who(pod, port, { protocol: 'udp' }))))),
  ];
  t.deepEqual(
    await answers(),
    Array.from({ length: 8 }, () => 'app'),
  );
  const sidecar = await rules.inside(true);
  for (const listener of [15_500, 15_501]) await sidecar.serve('sidecar', listener, { transparent: true });
  const datagrams = await rules.inside(true);
  for (const listener of [15_500, 15_501]) await datagrams.serve('sidecar', listener, { transparent: true, protocol: 'udp' });
  t.deepEqual(
    await answers(),
    Array.from({ length: 8 }, () => 'sidecar'),
  );
  await sidecar.close();
  await datagrams.close();
  t.deepEqual(
    await answers(),
    Array.from({ length: 8 }, () => 'app'),
  );
});

test.serial('the sidecar sees the original destination and the caller', async (t) => {
  await using rules = await Rules.in(t, programs);
  await rules.apply(tproxy(rules, { KPEERING_INBOUND_PORTS: '8000-9000' }));
  const [sidecar, caller] = [await rules.inside(true), await rules.outside()];
  await sidecar.serve('sidecar', 15_500, { transparent: true });
  for (const { pod, node } of families) {
    t.deepEqual(JSON.parse(await caller.call(pod, 8080)), { name: 'sidecar', from: node, to: `${pod} 8080` });
  }
});

test.serial('UDP: answers leave from the port that was asked, and datagrams of 65,507 bytes are whole both ways', async (t) => {
  await using rules = await Rules.in(t, programs);
  await rules.apply(tproxy(rules, { KPEERING_INBOUND_PORTS: '80', KPEERING_INBOUND_UDP_PORTS: '5353' }));
  const [sidecar, caller] = [await rules.inside(true), await rules.outside()];
  await sidecar.serve('sidecar', 15_500, { transparent: true, protocol: 'udp' });
  const app = await rules.inside();
  await app.serve('app', 5353, { protocol: 'udp' });
  for (const { pod, node } of families) {
    // The caller's socket is connected: it takes answers from where it asked, and from nowhere else.
    t.deepEqual(JSON.parse(await caller.call(pod, 5353, { protocol: 'udp' })), { name: 'sidecar', from: node });
    t.is(await caller.call(pod, 5353, { protocol: 'udp', bytes: 65_507 }), '65507 bytes came back');
  }
  t.is(await app.who('127.0.0.1', 5353, { protocol: 'udp' }), 'app');
});

test.serial(
  'with KPEERING_KEEP_SOURCE the app sees the address of the caller that the sidecar calls for, and answers to the sidecar',
  async (t) => {
    await using rules = await Rules.in(t, programs);
    const [app, sidecar, caller] = [await rules.inside(), await rules.inside(true), await rules.outside()];
    await app.serve('app', 8080);
    for (const options of [
      { KPEERING_INBOUND_PORTS: '8080' },
      { KPEERING_OUTBOUND_PORTS: '*', KPEERING_PROBE_ALIASES: '15400:8080' },
    ] as Environment[]) {
      await rules.apply(tproxy(rules, { ...options, KPEERING_KEEP_SOURCE: '1' }));
      for (const { pod, node } of families) {
        t.deepEqual(JSON.parse(await sidecar.call(pod, 8080, { from: node, transparent: true })), {
          name: 'app',
          from: node,
          to: `${pod} 8080`,
        });
        // The caller's own calls are as ever.
        t.deepEqual(JSON.parse(await caller.call(pod, 8080)), { name: 'app', from: node, to: `${pod} 8080` });
        t.is(await app.who(pod, 8080), 'app');
      }
      t.true(rules.document().keepSource);
    }
  },
);
