import test from 'ava';
import { parseCidr, type Cidr } from '../../../../src/platform/cidr.ts';
import type { Route } from '../../../../src/platform/routes.ts';
import { Freshness, wayTo } from '../../../../src/kpctl/up/freshness.ts';

function route(destination: string, device: string, more: Partial<Route> = {}): Route {
  const cidr: Cidr | undefined = parseCidr(destination);
  if (cidr === undefined) throw new Error(destination);
  return { destination: cidr, kind: 'unicast', table: 254, device, deviceKind: undefined, gateway: undefined, ...more };
}

const wifi = [
  route('0.0.0.0/0', 'wlan0', { gateway: '192.168.1.1' }),
  route('192.168.1.0/24', 'wlan0'),
  route('192.168.1.7/32', 'wlan0', { kind: 'local', table: 255 }),
];

test('a container that starts changes nothing on the way to the API server', (t) => {
  const docker = [route('172.17.0.0/16', 'docker0'), route('172.17.0.1/32', 'docker0', { kind: 'local', table: 255 })];
  t.is(wayTo(['203.0.113.9'], [...wifi, ...docker]), wayTo(['203.0.113.9'], wifi));
});

test('another gateway, another device, another own address and a narrower route are another way', (t) => {
  const before = wayTo(['203.0.113.9'], wifi);
  const own = [...wifi.slice(0, 2), route('192.168.1.8/32', 'wlan0', { kind: 'local', table: 255 })];
  const vpn = [...wifi, route('203.0.113.0/24', 'tun0')];
  const cable = [route('0.0.0.0/0', 'eth0', { gateway: '192.168.1.1' }), ...wifi.slice(1)];
  for (const other of [own, vpn, cable, wifi.slice(1)]) t.not(wayTo(['203.0.113.9'], other), before);
});

test('a changed way is told once, and a clock that has jumped is a machine that slept', async (t) => {
  const listeners = new Set<() => void>();
  let routes: readonly Route[] = wifi;
  let clock = 1_000_000;
  const told: string[] = [];
  const slept = Promise.withResolvers<void>();
  await using _freshness = new Freshness({
    routes: {
      get routes() {
        return routes;
      },
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    apiServer: () => ['203.0.113.9'],
    onChange: (why) => {
      told.push(why);
      if (why === 'slept') slept.resolve();
    },
    now: () => clock,
    everyMilliseconds: 5,
  });
  routes = [...wifi, route('172.17.0.0/16', 'docker0')];
  for (const listener of listeners) listener();
  t.deepEqual(told, []);
  routes = [route('0.0.0.0/0', 'eth0'), ...wifi.slice(1)];
  for (const listener of listeners) listener();
  for (const listener of listeners) listener();
  t.deepEqual(told, ['route']);
  clock += 60_000;
  // Its timer keeps no process alive.
  const alive = setInterval(() => undefined, 1000);
  t.teardown(() => clearInterval(alive));
  await slept.promise;
  t.deepEqual(told, ['route', 'slept']);
});
