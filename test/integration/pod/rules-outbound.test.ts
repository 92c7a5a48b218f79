import test from 'ava';
import { requireProgram } from '../../../src/platform/programs.ts';
import { backends, families, images, isRoot, knownSidecar, node4, node6, Rules, sidecarMark, type Environment } from './rules-stage.ts';

/** What the pod calls, with real packets: who gets it, for every backend and family. */

for (const backend of backends) {
  const applied = async (rules: Rules, options: Environment): Promise<void> => {
    await rules.apply({ KPEERING_MODE: backend.mode, KPEERING_RULES_FILE: rules.file, ...knownSidecar, ...options });
  };

  test.serial(
    `${backend.name}: the pod's calls are captured by port and by network, with their exclusions; the sidecar's own never`,
    async (t) => {
      await using rules = await Rules.in(t, images[backend.image]);
      const world = await rules.outside();
      for (const port of [80, 5432, 6000]) await world.serve('the world', port);
      const [app, sidecar] = [await rules.inside(), await rules.inside(true)];
      await sidecar.serve('outbound v4', 15_301, { host: '127.0.0.1' });
      const other = await rules.inside(true);
      await other.serve('outbound v6', 15_301, { host: '::1' });
      const called = async (from = app): Promise<string[]> => {
        const names: string[] = [];
        for (const { node } of families) for (const port of [80, 5432, 6000]) names.push(await from.who(node, port));
        return names;
      };
      const [out4, out6, direct] = ['outbound v4', 'outbound v6', 'the world'];
      t.deepEqual(await called(), [direct, direct, direct, direct, direct, direct]);
      await applied(rules, { KPEERING_INBOUND_PORTS: '1' });
      t.deepEqual(await called(), [direct, direct, direct, direct, direct, direct], 'none is the default');
      await applied(rules, { KPEERING_INBOUND_PORTS: '1', KPEERING_OUTBOUND_PORTS: '*' });
      t.deepEqual(await called(), [out4, out4, out4, out6, out6, out6]);
      t.deepEqual(await called(sidecar), [direct, direct, direct, direct, direct, direct]);
      await applied(rules, {
        KPEERING_INBOUND_PORTS: '1',
        KPEERING_OUTBOUND_PORTS: '80,5000-7000',
        KPEERING_EXCLUDE_OUTBOUND_PORTS: '5999-6001',
      });
      t.deepEqual(await called(), [out4, out4, direct, out6, out6, direct]);
      await applied(rules, { KPEERING_INBOUND_PORTS: '1', KPEERING_OUTBOUND_PORTS: '*', KPEERING_EXCLUDE_OUTBOUND_CIDRS: '10.77.0.0/16' });
      t.deepEqual(await called(), [direct, direct, direct, out6, out6, out6]);
      await applied(rules, {
        KPEERING_INBOUND_PORTS: '1',
        KPEERING_OUTBOUND_PORTS: '80',
        KPEERING_OUTBOUND_CIDRS: '10.77.0.1,198.51.100.0/24',
      });
      t.deepEqual(await called(), [out4, direct, direct, direct, direct, direct]);
      await applied(rules, {
        KPEERING_INBOUND_PORTS: '1',
        KPEERING_OUTBOUND_PORTS: '*',
        KPEERING_OUTBOUND_CIDRS: 'fd00::/8',
        KPEERING_EXCLUDE_OUTBOUND_CIDRS: 'fd77::1',
      });
      t.deepEqual(await called(), [direct, direct, direct, direct, direct, direct]);
      t.like(rules.document(), { outbound: ['*'], exceptOutbound: [], networks: ['fd00::/8'], exceptNetworks: ['fd77::1'] });
    },
  );

  test.serial(
    `${backend.name}: with outbound capture, what the app calls at its own pod's address meets the inbound capture; localhost is its own`,
    async (t) => {
      await using rules = await Rules.in(t, images[backend.image]);
      const transparent = backend.mode === 'tproxy';
      const app = await rules.inside();
      await app.serve('app', 8080);
      await app.serve('app', 9090);
      for (const options of [{ KPEERING_INBOUND_PORTS: '8080' }, { KPEERING_EXCLUDE_INBOUND_PORTS: '9090' }] as Environment[]) {
        await applied(rules, { KPEERING_OUTBOUND_PORTS: '*', ...options });
        const sidecar = await rules.inside(true);
        const listener = Object.values(rules.document().tcp)[0] ?? 0;
        await sidecar.serve('inbound', listener, { transparent });
        for (const { pod, loopback } of families) {
          t.is(await app.who(pod, 8080), 'inbound');
          t.is(await app.who(pod, 9090), 'app', 'this port is not captured');
          t.is(await app.who(loopback, 8080), 'app');
          t.is(await sidecar.who(pod, 8080), 'app', 'what the sidecar passes on does not come back to it');
        }
        await sidecar.close();
        // Nobody listens: in tproxy mode the app is called as ever.
        for (const { pod } of families) t.is(await app.who(pod, 8080), transparent ? 'app' : 'ECONNREFUSED');
      }
    },
  );

  test.serial(
    `${backend.name}: DNS goes to the sidecar, UDP and TCP; its own queries do not, not even from a port that the app has used`,
    async (t) => {
      await using rules = await Rules.in(t, images[backend.image]);
      const world = await rules.outside();
      await world.serve('the world', 53);
      await world.serve('the world', 53, { protocol: 'udp', host: node4 });
      const world6 = await rules.outside();
      await world6.serve('the world', 53, { protocol: 'udp', host: node6 });
      await applied(rules, { KPEERING_INBOUND_PORTS: '1', KPEERING_DNS: '1', KPEERING_EXCLUDE_OUTBOUND_CIDRS: '10.77.0.200' });
      const [app, sidecar, sidecar6] = [await rules.inside(), await rules.inside(true), await rules.inside(true)];
      for (const [peer, host] of [
        [sidecar, '127.0.0.1'],
        [sidecar6, '::1'],
      ] as const) {
        await peer.serve('dns', 15_353, { host });
        await peer.serve('dns', 15_353, { host, protocol: 'udp' });
      }
      for (const { node } of families) {
        for (const protocol of ['tcp', 'udp'] as const) {
          t.is(await app.who(node, 53, { protocol }), 'dns', `${protocol} ${node}`);
          t.is(await sidecar.who(node, 53, { protocol }), 'the world', `${protocol} ${node}`);
        }
        // istio's issue 33469: the translation of the app's flow must not hit the sidecar's, which looks the same.
        t.is(await app.who(node, 53, { protocol: 'udp', fromPort: 40_053 }), 'dns');
        t.is(await sidecar.who(node, 53, { protocol: 'udp', fromPort: 40_053 }), 'the world');
        t.is(await app.who(node, 53, { protocol: 'udp', fromPort: 40_053 }), 'dns');
      }
      await applied(rules, { KPEERING_INBOUND_PORTS: '1', KPEERING_DNS: '1', KPEERING_EXCLUDE_OUTBOUND_CIDRS: node4 });
      t.is(await app.who(node4, 53, { protocol: 'udp' }), 'the world');
      t.is(await app.who(node6, 53, { protocol: 'udp' }), 'dns');
      t.true(rules.document().dns);
    },
  );
}

test.serial('the sidecar is known by its mark too', async (t) => {
  await using rules = await Rules.in(t, images['nft only']);
  const world = await rules.outside();
  await world.serve('the world', 80);
  await rules.apply({ KPEERING_MODE: 'redirect', KPEERING_INBOUND_PORTS: '1', KPEERING_OUTBOUND_PORTS: '*', KPEERING_EXEMPT_MARK: '0x77' });
  const peer = await rules.inside();
  t.is(await peer.who(node4, 80), 'ECONNREFUSED');
  t.is(await peer.who(node4, 80, { mark: sidecarMark }), 'the world');
});

for (const name of ['iptables on nft without the program nft', 'iptables-legacy'] as const) {
  test.serial(`${name}: a group that does not exist in the user namespace is an error that says what to do`, async (t) => {
    await using rules = await Rules.in(t, images[name]);
    // As an ordinary user has it: root inside, and no other user or group.
    const user = isRoot ? [requireProgram('unshare', 'util-linux'), '--user', '--map-root-user', '--net', '--'] : [];
    const { code, stderr } = await rules.attempt([], { KPEERING_OUTBOUND_PORTS: '*' }, user);
    t.is(code, 1);
    t.regex(stderr, /KPEERING_EXEMPT_MARK/u);
    t.regex((await rules.attempt([], { KPEERING_OUTBOUND_PORTS: '*', KPEERING_EXEMPT_MARK: '7' }, user)).stderr, /redirect mode/u);
  });
}
