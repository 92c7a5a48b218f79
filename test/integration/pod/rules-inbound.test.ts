import test from 'ava';
import { backends, families, images, node4, node6, pod4, pod6, Rules, type Backend, type Environment, type Peer } from './rules-stage.ts';

/** What comes into the pod, with real packets: who gets it, for every backend and family. */

/** The sidecar's listeners as the rules file names them; `app` is on none of its ports. */
async function sidecar(rules: Rules): Promise<Peer> {
  const peer = await rules.inside(true);
  const { mode, tcp } = rules.document();
  const transparent = mode === 'tproxy';
  for (const listener of new Set(Object.values(tcp))) await peer.serve('sidecar', listener, { transparent });
  return peer;
}

async function apply(rules: Rules, backend: Backend, options: Environment = {}): Promise<void> {
  await rules.apply({ KPEERING_MODE: backend.mode, KPEERING_RULES_FILE: rules.file, ...options });
}

for (const backend of backends) {
  test.serial(`${backend.name}: all ports, listed ports and ranges, excluded ones: both families`, async (t) => {
    await using rules = await Rules.in(t, images[backend.image]);
    const caller = await rules.outside();
    const ports = [22, 80, 81, 8000, 8079, 8081, 9000, 15_310, 15_320];
    const captured = async (): Promise<number[][]> => {
      const all: number[][] = [];
      for (const { pod } of families) {
        const reached: number[] = [];
        for (const port of ports) {
          const name = await caller.who(pod, port);
          t.true(name === 'sidecar' || name === 'ECONNREFUSED', `${pod} ${port}: ${name}`);
          if (name === 'sidecar') reached.push(port);
        }
        all.push(reached);
      }
      return all;
    };
    const both = (...expected: number[]): number[][] => [expected, expected];
    t.deepEqual(await captured(), both());
    for (const [options, expected] of [
      [{}, both(22, 80, 81, 8000, 8079, 8081, 9000)],
      [{ KPEERING_EXCLUDE_INBOUND_PORTS: '22, 8000-8080' }, both(80, 81, 8081, 9000)],
      [{ KPEERING_INBOUND_PORTS: '80 8000-8080', KPEERING_EXCLUDE_INBOUND_PORTS: '8079' }, both(80, 8000)],
      [
        { KPEERING_INBOUND_PORTS: `80,${Array.from({ length: 150 }, (_, index) => 8079 + 2 * index).join(',')},8500-65535` },
        both(80, 8079, 8081, 9000),
      ],
    ] as const) {
      await apply(rules, backend, options);
      const listening = await sidecar(rules);
      t.deepEqual(
        await captured(),
        expected.map((list) => [...list]),
        JSON.stringify(options).slice(0, 100),
      );
      await listening.close();
    }
    await rules.clean();
    await sidecar(rules);
    t.deepEqual(await captured(), both());
  });

  test.serial(
    `${backend.name}: what the pod sends to itself is not captured: by localhost, by its own address, whatever the app listens on`,
    async (t) => {
      await using rules = await Rules.in(t, images[backend.image]);
      await apply(rules, backend);
      await sidecar(rules);
      const app = await rules.inside();
      const caller = await rules.outside();
      for (const { pod, loopback } of families) {
        await app.serve('on the wildcard', 8080, { host: loopback === '::1' ? '::' : '0.0.0.0' });
        await app.serve('on the address', 8081, { host: pod });
        await app.serve('on localhost', 8082, { host: loopback });
        t.is(await app.who(loopback, 8080), 'on the wildcard');
        t.is(await app.who(pod, 8080), 'on the wildcard');
        t.is(await app.who(pod, 8081), 'on the address');
        t.is(await app.who(loopback, 8081), 'ECONNREFUSED');
        t.is(await app.who(loopback, 8082), 'on localhost');
        t.is(await app.who(pod, 8082), 'ECONNREFUSED');
        // From outside all three are captured.
        for (const port of [8080, 8081, 8082]) {
          t.is(await caller.who(pod, port), 'sidecar');
          await app.stop(port);
        }
      }
    },
  );

  test.serial(`${backend.name}: what the pod calls at its own Service comes back from outside, and is captured`, async (t) => {
    await using rules = await Rules.in(t, images[backend.image]);
    await apply(rules, backend, { KPEERING_INBOUND_PORTS: '8080' });
    await sidecar(rules);
    const app = await rules.inside();
    await app.serve('app', 8080);
    await app.serve('app', 8081);
    const routes = `ip route add 10.96.0.50 via ${node4}; ip -6 route add fd96::50 via ${node6}
      for file in /proc/sys/net/ipv?/conf/*/accept_redirects; do echo 0 >$file; done`;
    await rules.pod.namespace.run('sh', ['-ec', routes]);
    // As kube-proxy does it.
    const service = `
      echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
      nft -f - <<END
        table inet service {
          chain pre {
            type nat hook prerouting priority dstnat
            ip daddr 10.96.0.50 tcp dport 80 dnat ip to ${pod4}:8080
            ip daddr 10.96.0.50 tcp dport 81 dnat ip to ${pod4}:8081
            ip6 daddr fd96::50 tcp dport 80 dnat ip6 to [${pod6}]:8080
            ip6 daddr fd96::50 tcp dport 81 dnat ip6 to [${pod6}]:8081
          }
          chain post {
            type nat hook postrouting priority srcnat
            ct status dnat masquerade
          }
        }
END`;
    await rules.pod.node.run('sh', ['-ec', service]);
    for (const address of ['10.96.0.50', 'fd96::50']) {
      t.is(await app.who(address, 80), 'sidecar');
      t.is(await app.who(address, 81), 'app', 'this port is not captured');
    }
  });

  test.serial(`${backend.name}: a probe's alias reaches the app whatever is captured, and whether or not the sidecar lives`, async (t) => {
    await using rules = await Rules.in(t, images[backend.image]);
    const app = await rules.inside();
    const caller = await rules.outside();
    await app.serve('app', 8080);
    const aliases = { KPEERING_PROBE_ALIASES: '15400:8080,15401:9090' };
    for (const options of [aliases, { ...aliases, KPEERING_INBOUND_PORTS: '8080,15000-16000' }]) {
      await apply(rules, backend, options);
      const listening = await sidecar(rules);
      for (const { pod } of families) {
        t.is(await caller.who(pod, 8080), 'sidecar');
        t.is(await caller.who(pod, 15_400), 'app');
        t.is(await caller.who(pod, 15_401), 'ECONNREFUSED', 'nobody listens on 9090');
      }
      await listening.close();
      for (const { pod } of families) t.is(await caller.who(pod, 15_400), 'app');
    }
    t.deepEqual(rules.document().aliases, { 15400: 8080, 15401: 9090 });
  });

  test.serial(`${backend.name}: only who is outside reaches the listener of the proof`, async (t) => {
    await using rules = await Rules.in(t, images[backend.image]);
    for (const options of [{ KPEERING_INBOUND_PORTS: '80', KPEERING_OUTBOUND_PORTS: '*', KPEERING_EXEMPT_MARK: '1' }, {}]) {
      await apply(rules, backend, options);
      const proving = await rules.inside(true);
      const app = await rules.inside();
      await proving.serve('captured', backend.mode === 'tproxy' ? 15_308 : 15_306, { transparent: backend.mode === 'tproxy' });
      const caller = await rules.outside();
      for (const { pod, loopback } of families) {
        t.is(await caller.who(pod, 15_307), 'captured');
        t.is(await app.who(pod, 15_307), 'ECONNREFUSED');
        t.is(await app.who(loopback, 15_307), 'ECONNREFUSED');
      }
      await proving.close();
    }
  });
}
