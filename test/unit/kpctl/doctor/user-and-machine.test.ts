import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import test from 'ava';
import { apiCheck } from '../../../../src/kpctl/doctor/checks/api.ts';
import { kubeconfigCheck } from '../../../../src/kpctl/doctor/checks/kubeconfig.ts';
import { leftoversHereCheck } from '../../../../src/kpctl/doctor/checks/leftovers-here.ts';
import { namesCheck, type JoinedNames, type NamesParts } from '../../../../src/kpctl/doctor/checks/names.ts';
import { privateNetworkCheck } from '../../../../src/kpctl/doctor/checks/private-network.ts';
import { rightsCheck } from '../../../../src/kpctl/doctor/checks/rights.ts';
import { toolsCheck } from '../../../../src/kpctl/doctor/checks/tools.ts';
import { upCheck, type UpParts } from '../../../../src/kpctl/doctor/checks/up.ts';
import { upMachineCheck, type MachineParts } from '../../../../src/kpctl/doctor/checks/up-machine.ts';
import type { UpStatus } from '../../../../src/kpctl/control/messages.ts';
import type { Seen } from '../../../../src/kpctl/doctor/finding.ts';
import { Examination } from '../../../../src/kpctl/doctor/examination.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { setUpFailure } from '../../../../src/simulator/network/failures.ts';
import { healthy, lines, look } from './imitation.ts';

function names(parts: Partial<NamesParts>): NamesParts {
  return {
    read: () => 'nameserver 192.168.1.1\n',
    kind: async () => await Promise.resolve({ kind: 'resolv-conf', warnings: [] }),
    joined: async () => await Promise.resolve(undefined),
    lookUp: async () => await Promise.resolve(),
    askDirectly: async () => await Promise.resolve(),
    ...parts,
  };
}

const nothing: AsyncDisposable & { close(): Promise<void> } = { close: async () => {}, [Symbol.asyncDispose]: async () => {} };

test('a kubeconfig that cannot be read is a problem with its remedy', async (t) => {
  await using examination = new Examination({
    open: () => Promise.reject(new Failure('KUBECONFIG_MISSING', 'there is no kubeconfig', { remedy: 'get one' })),
    workload: undefined,
    milliseconds: { api: 100, lookup: 100 },
  });
  const options = { signal: AbortSignal.timeout(1_000) };
  t.deepEqual(await kubeconfigCheck.look(examination, options), [
    { verdict: 'problem', seen: 'there is no kubeconfig [KUBECONFIG_MISSING]', fix: 'get one' },
  ]);
  t.deepEqual(lines(await apiCheck.look(examination, options)), ['unknown not looked at: the API server does not answer']);
  t.deepEqual(lines(await look(kubeconfigCheck, {})), ['ok context test, namespace shop, server https://test']);
});

test('an API server that answers, refuses, and does neither', async (t) => {
  t.regex(lines(await look(apiCheck, {}))[0] ?? '', /^ok v1\.35\.4 answers in \d+ ms, and knows you as ada$/);
  const refused = await look(apiCheck, {
    version: () => Promise.reject(new Failure('API_UNAUTHORIZED', 'not accepted', { remedy: 'log in' })),
  });
  t.deepEqual(refused, [{ verdict: 'problem', seen: 'not accepted [API_UNAUTHORIZED]', fix: 'log in' }]);
  const silent = await look(apiCheck, { version: () => new Promise(() => undefined) });
  t.deepEqual(lines(silent), ['problem the API server https://test does not answer in time']);
});

test('each feature says which verb is missing', async (t) => {
  const all = lines(await look(rightsCheck, healthy));
  t.true(
    all.every((line) => line.startsWith('ok ')),
    all.join('\n'),
  );
  const seen = await look(rightsCheck, {
    ...healthy,
    can: ({ verb, resource, subresource }) => {
      if (verb === 'create' && resource === 'clusterroles') return false;
      return !(verb === 'patch' && resource === 'deployments') && subresource !== 'ephemeralcontainers';
    },
  });
  const others = lines(seen.filter(({ verdict }) => verdict !== 'ok'));
  t.true(others.includes('note inject, eject, intercept --inject will not work: in namespace shop you may not patch deployments.apps'));
  t.true(others.includes('note intercept --ephemeral will not work: in namespace shop you may not patch pods/ephemeralcontainers'));
  const main = await look(rightsCheck, { ...healthy, can: ({ subresource }) => subresource !== 'portforward' });
  t.is(lines(main)[0], 'problem list, intercept, run will not work: in namespace shop you may not create pods/portforward');
  t.regex(main[0]?.fix ?? '', /kubectl -n shop create rolebinding .*kpeering-developer/);
});

test('the programs of kpctl run: all, some, and another system', async (t) => {
  t.deepEqual(
    lines(
      await look(
        toolsCheck((name) => `/bin/${name}`, 'linux'),
        {},
      ),
    ),
    ['ok /bin/unshare, /bin/nft, /bin/ip'],
  );
  const some = await look(
    toolsCheck((name) => (name === 'nft' || name === 'ip' ? undefined : `/bin/${name}`), 'linux'),
    {},
  );
  t.deepEqual(some, [
    {
      verdict: 'problem',
      seen: 'kpctl run needs nft and ip, not installed here; intercept works',
      fix: 'on Debian or Ubuntu: sudo apt-get install nftables iproute2',
    },
  ]);
  t.regex(
    lines(
      await look(
        toolsCheck(() => undefined, 'darwin'),
        {},
      ),
    )[0] ?? '',
    /^problem kpctl run and demo need Linux, and this is darwin/,
  );
});

test('user namespaces that AppArmor forbids: exactly what to do', async (t) => {
  t.regex(
    lines(
      await look(
        privateNetworkCheck(() => Promise.resolve(nothing), 'linux'),
        {},
      ),
    )[0] ?? '',
    /^ok the private network of kpctl run can be made/,
  );
  const forbidden = setUpFailure({
    step: 'namespaces',
    message: 'unshare: write failed /proc/self/uid_map: Operation not permitted',
    userNamespace: true,
    sysctl: (path) => (path === 'kernel/apparmor_restrict_unprivileged_userns' ? '1' : undefined),
    executable: '/opt/node',
  });
  const [seen] = await look(
    privateNetworkCheck(() => Promise.reject(forbidden), 'linux'),
    {},
  );
  t.is(seen?.verdict, 'problem');
  t.regex(seen?.seen ?? '', /kernel\.apparmor_restrict_unprivileged_userns is 1\) \[USER_NAMESPACES_FORBIDDEN\]$/);
  t.regex(seen?.fix ?? '', /profile kpctl "\/opt\/node" flags=\(unconfined\) \{\n {2}userns,/);
  const missing = privateNetworkCheck(() => Promise.reject(new Failure('PROGRAM_MISSING', 'no nft')), 'linux');
  t.deepEqual(lines(await look(missing, {})), ['unknown not tried: a program is missing']);
  t.deepEqual(
    await look(
      privateNetworkCheck(() => Promise.resolve(nothing), 'darwin'),
      {},
    ),
    [],
  );
});

test('where names come from', async (t) => {
  const stub = namesCheck(names({ read: () => 'nameserver 127.0.0.53\n' }));
  t.deepEqual(lines(await look(stub, {})), [
    "ok other names go to this machine's resolvers: 127.0.0.53 (systemd-resolved)",
    "ok kpctl up joins the machine's names by /etc/resolv.conf itself (resolv-conf)",
    'ok names of the internet are found here (example.com)',
    'ok cluster names come from Services and EndpointSlices of all namespaces',
  ]);
  const narrow = lines(await look(stub, { can: ({ namespace }) => namespace === 'shop' }));
  t.regex(narrow[3] ?? '', /^note cluster names come from namespace shop/);
  t.regex(lines(await look(stub, { can: () => false }))[3] ?? '', /^problem you may not list and watch Services/);
  t.regex(lines(await look(namesCheck(names({ read: () => '# nothing' })), {}))[0] ?? '', /^warning .* names no server/);
});

test('whether names are found is told with and without a kpctl up', async (t) => {
  const failing =
    (...those: string[]) =>
    async (name: string): Promise<void> =>
      those.includes(name) ? await Promise.reject(new Error(`ENOTFOUND ${name}`)) : undefined;
  const inside = 'kubernetes.default.svc.cluster.local';
  const joined = async (): Promise<JoinedNames> =>
    await Promise.resolve({ domain: 'cluster.local', kind: 'nft', elsewhere: ['192.168.1.1:53'] });
  const seen = async (parts: Partial<NamesParts>): Promise<string[]> =>
    lines(await look(namesCheck(names(parts)), {})).filter((line) => /found/.test(line));
  t.deepEqual(await seen({ lookUp: failing('example.com') }), [
    'note names of the internet are not found here (example.com: ENOTFOUND example.com)',
  ]);
  t.deepEqual(await seen({ joined }), [
    'ok names of the internet are found here (example.com)',
    `ok names of the cluster are found by every program of this machine (${inside})`,
  ]);
  t.deepEqual(await seen({ joined, lookUp: failing('example.com', inside) }), [
    "warning names of the internet are not found here (example.com: ENOTFOUND example.com), though this machine's own servers know them",
    `problem a kpctl up has joined this machine, and ${inside} is not found: ENOTFOUND ${inside}`,
  ]);
  const nowhere = { joined, lookUp: failing('example.com'), askDirectly: () => Promise.reject(new Error('ETIMEOUT')) };
  t.is((await seen(nowhere))[0], 'note names of the internet are not found here (example.com: ENOTFOUND example.com)');
  t.deepEqual(lines(await look(namesCheck(names({ joined })), {})).slice(0, 2), [
    "ok kpctl up has joined the machine's names by rules that redirect port 53 (nft)",
    "ok other names go to this machine's resolvers: 192.168.1.1:53",
  ]);
});

const since = new Date('2026-01-01T00:00:00Z');
const status: UpStatus = {
  pid: 7,
  kind: 'up',
  version: '0.1.0',
  since: since.toISOString(),
  tunnel: 'up',
  activeFlows: 0,
  context: 'test',
  server: 'https://test',
  namespace: 'shop',
  exit: { kind: 'gateway', pod: 'kpeering-system/kpeering-gateway-1' },
  networks: {
    captured: ['10.96.0.0/16', '10.244.0.0/16'],
    never: ['10.244.9.0/24'],
    sources: ['Services: 10.96.0.0/16 (ServiceCIDR objects)'],
    also: [],
    excluded: [],
  },
  names: { domain: 'cluster.local', search: ['shop'], kind: 'resolv-conf', elsewhere: ['192.168.1.1:53'] },
  log: '/tmp/up.log',
};

test('a kpctl up is told with what it captures; what a killed one has left is a problem with its remedy', async (t) => {
  const mine = { pid: 7, uid: process.getuid?.() ?? 0, name: 'ada', since };
  const up = async (parts: Partial<UpParts>): Promise<readonly Seen[]> =>
    await look(
      upCheck(
        { owner: () => undefined, leftovers: () => undefined, status: async () => await Promise.resolve(undefined), ...parts },
        'linux',
      ),
      {},
    );
  t.deepEqual(lines(await up({})), ['ok no kpctl up has joined this machine, and none has left anything']);
  const [left] = await up({ leftovers: () => ({ name: 'ada', since }) });
  t.is(left?.verdict, 'problem');
  t.regex(left?.seen ?? '', /was killed \(or could not undo everything\) and has left settings.*\[UP_LEFTOVERS\]$/);
  t.regex(left?.fix ?? '', /sudo kpctl down/);
  const joined = lines(await up({ owner: () => mine, status: async () => await Promise.resolve(status) }));
  t.regex(joined[0] ?? '', /^ok joined test \(https:\/\/test\), namespace shop, through the gateway/);
  t.is(joined[1], 'ok captured: 10.96.0.0/16, 10.244.0.0/16; left alone: 10.244.9.0/24');
  t.true(joined.some((line) => line.includes('by resolv-conf')));
  const lost = await up({ owner: () => mine, status: async () => await Promise.resolve({ ...status, tunnel: 'lost' }) });
  t.regex(lines(lost)[0] ?? '', /^warning .* has no tunnel now \(lost\)/);
  t.regex(lines(await up({ owner: () => mine }))[0] ?? '', /^problem your kpctl up .* does not answer$/);
  t.regex(lines(await up({ owner: () => ({ ...mine, uid: mine.uid + 1 }) }))[0] ?? '', /^ok a kpctl up of ada has joined this machine/);
});

test('what kpctl up needs of the machine: root, a device, a kernel that takes its rules', async (t) => {
  const machine = async (parts: Partial<MachineParts>): Promise<string[]> =>
    lines(
      await look(
        upMachineCheck(
          () => ({
            uid: 1000,
            release: '6.1.0-17-amd64',
            find: (name) => `/bin/${name}`,
            hasTun: () => true,
            tryRules: async () => await Promise.resolve(),
            ...parts,
          }),
          'linux',
        ),
        {},
      ),
    );
  t.deepEqual(await machine({}), ['ok kpctl up gets root by sudo', 'ok Linux 6.1.0-17-amd64 takes all rules of kpctl up']);
  t.regex((await machine({ find: () => undefined }))[0] ?? '', /^note there is no sudo here/);
  t.regex((await machine({ hasTun: () => false }))[1] ?? '', /^problem there is no \/dev\/net\/tun/);
  t.regex((await machine({ release: '5.10.0' }))[1] ?? '', /^problem Linux 5\.10\.0 is too old/);
  const refused = { tryRules: () => Promise.reject(new Error('unshare: unshare failed: Operation not permitted')) };
  t.regex((await machine(refused))[1] ?? '', /^note whether Linux .* could not be tried without root/);
  t.regex(
    (await machine({ tryRules: () => Promise.reject(new Error('tproxy: No such file')) }))[1] ?? '',
    /^problem .*does not take the rules of kpctl up: tproxy/,
  );
});

test('the rules of kpctl up are given to this kernel, which takes them', async (t) => {
  const seen = lines(await look(upMachineCheck(), {}));
  t.regex(seen.at(-1) ?? '', /^ok Linux \S+ takes all rules of kpctl up$/);
});

test('what killed kpctl processes have left on this machine', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kpctl-doctor-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const check = leftoversHereCheck(() => folder);
  t.deepEqual(lines(await look(check, {})), ['ok nothing is left over on this machine']);
  const alive = createServer().listen(join(folder, '1.sock'));
  await once(alive, 'listening');
  // SIGKILL leaves the file of a socket
  const script = `require('node:net').createServer().listen(${JSON.stringify(join(folder, '2.sock'))}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', script]), 'exit');
  mkdirSync(join(folder, 'demo-abc'));
  writeFileSync(join(folder, 'demo-abc/kubeconfig'), '');
  const seen = lines(await look(check, {}));
  alive.close();
  t.deepEqual(seen, [`note ${folder}: 1 socket of kpctl processes that were killed`, `note ${folder}: 1 folder of a demo that was killed`]);
});
