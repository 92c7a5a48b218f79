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
import { namesCheck } from '../../../../src/kpctl/doctor/checks/names.ts';
import { privateNetworkCheck } from '../../../../src/kpctl/doctor/checks/private-network.ts';
import { rightsCheck } from '../../../../src/kpctl/doctor/checks/rights.ts';
import { toolsCheck } from '../../../../src/kpctl/doctor/checks/tools.ts';
import { Examination } from '../../../../src/kpctl/doctor/examination.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { setUpFailure } from '../../../../src/simulator/network/failures.ts';
import { healthy, lines, look } from './imitation.ts';

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
  const stub = namesCheck(() => 'nameserver 127.0.0.53\n');
  t.deepEqual(lines(await look(stub, {})), [
    "ok other names go to this machine's resolvers: 127.0.0.53 (systemd-resolved)",
    'ok cluster names come from Services and EndpointSlices of all namespaces',
  ]);
  const narrow = lines(await look(stub, { can: ({ namespace }) => namespace === 'shop' }));
  t.regex(narrow[1] ?? '', /^note cluster names come from namespace shop/);
  t.regex(lines(await look(stub, { can: () => false }))[1] ?? '', /^problem you may not list and watch Services/);
  t.regex(
    lines(
      await look(
        namesCheck(() => '# nothing'),
        {},
      ),
    )[0] ?? '',
    /^warning .* names no server/,
  );
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
