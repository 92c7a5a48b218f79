import test from 'ava';
import type { ClusterNetworks, Network } from '../../../../src/cluster/networks.ts';
import { parseCidr } from '../../../../src/platform/cidr.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import type { Route } from '../../../../src/platform/routes.ts';
import { CaptureUpkeep } from '../../../../src/kpctl/up/capture-upkeep.ts';
import type { CapturePlan } from '../../../../src/kpctl/up/capture-plan.ts';

/** A cluster, a machine, and what has been applied to it. */
function stage() {
  const state = { services: ['10.96.0.0/16'], routes: [] as Route[], nameServers: [] as string[] };
  const listeners = new Set<() => void>();
  const applied: CapturePlan[] = [];
  const warnings: string[] = [];
  const failing = { next: false };
  const close = async (): Promise<void> => undefined;
  const networks: ClusterNetworks = {
    get services(): Network[] {
      return state.services.map((cidr) => ({ cidr, source: 'ServiceCIDR' }));
    },
    pods: [],
    ranges: [],
    told: [],
    contains: () => true,
    learn: () => undefined,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
  const upkeep = new CaptureUpkeep({
    sources: {
      networks,
      routes: () => state.routes,
      also: [],
      never: ['10.96.7.0/24'],
      apiServer: () => ['203.0.113.9'],
      nameServers: () => state.nameServers,
      isInUse: () => false,
    },
    apply: async (plan) => {
      await Promise.resolve();
      if (failing.next) throw new Error('nft has said no');
      applied.push(plan);
    },
    onWarning: (warning) => warnings.push(warning),
    log: silentLogger,
  });
  return { state, applied, warnings, upkeep, failing, tell: () => listeners.forEach((listener) => listener()) };
}

function route(destination: string): Route {
  const cidr = parseCidr(destination);
  if (cidr === undefined) throw new Error(destination);
  return { destination: cidr, kind: 'unicast', table: 254, device: 'tun0', deviceKind: 'tun', gateway: undefined };
}

test('the machine follows the cluster, and is left alone while nothing changes', async (t) => {
  const { state, applied, upkeep } = stage();
  t.true(upkeep.networks.capture.includes('10.96.0.0/16'));
  for (const never of ['203.0.113.9/32', '10.96.7.0/24']) t.true(upkeep.networks.never.includes(never), never);
  await upkeep.changed();
  t.is(applied.length, 0);
  state.services = ['10.96.0.0/16', '10.200.0.0/16'];
  await Promise.all([upkeep.changed(), upkeep.changed()]);
  t.is(applied.length, 1);
  t.true(applied[0]?.capture.includes('10.200.0.0/16'));
  state.nameServers = ['10.200.0.10'];
  await upkeep.changed();
  t.true(applied.at(-1)?.never.includes('10.200.0.10/32'));
});

test('a route that comes switches a network to synthetic addresses, with one warning; the names lead to the cluster and back', async (t) => {
  const { state, applied, warnings, upkeep, tell } = stage();
  t.is(upkeep.toLocal('10.96.0.1'), '10.96.0.1');
  t.is(upkeep.toCluster('10.96.0.1'), '10.96.0.1');
  state.routes = [route('10.0.0.0/8')];
  tell();
  await upkeep.changed();
  t.is(warnings.length, 1);
  t.regex(warnings[0] ?? '', /10\.96\.0\.0\/16.*10\.0\.0\.0\/8.*tun0/);
  t.false(applied.at(-1)?.capture.includes('10.96.0.0/16'));
  const local = upkeep.toLocal('10.96.0.1');
  t.not(local, '10.96.0.1');
  t.true(upkeep.has(local));
  t.is(upkeep.toCluster(local), '10.96.0.1');
  t.is(upkeep.behind(local), '10.96.0.1');
  t.is(upkeep.toCluster('198.18.200.200'), undefined, 'stands for nothing');
  await upkeep.changed();
  t.is(warnings.length, 1);
});

test('what the machine has refused is tried again with the next change', async (t) => {
  const { state, applied, upkeep, failing } = stage();
  state.services = ['10.200.0.0/16'];
  failing.next = true;
  await upkeep.changed();
  t.is(applied.length, 0);
  failing.next = false;
  await upkeep.changed();
  t.deepEqual(applied.at(-1)?.capture, ['10.200.0.0/16']);
});
