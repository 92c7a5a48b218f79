import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadContext } from '../../../src/cluster/kubeconfig.ts';

// $KUBECONFIG is the process's: one test after the other.

function folderOf(t: ExecutionContext, files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'kpeering-kubeconfig-'));
  const before = { KUBECONFIG: process.env['KUBECONFIG'], HOME: process.env['HOME'] };
  delete process.env['KUBECONFIG'];
  process.env['HOME'] = folder;
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  t.teardown(() => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(folder, { recursive: true });
  });
  return folder;
}

const one = `
apiVersion: v1
kind: Config
current-context: first
clusters: [{name: c, cluster: {server: "https://one:6443", certificate-authority: ca.crt}}]
users: [{name: u, user: {tokenFile: token, client-certificate: ../u.crt, exec: null}}]
contexts:
- {name: first, context: {cluster: c, user: u}}
`;
const two = `
current-context: second
clusters: [{name: c, cluster: {server: "https://two:6443", proxy-url: "http://proxy"}}, {name: d, cluster: {server: "https://d"}}]
users:
- {name: v, user: {as: bob, as-groups: [g], as-uid: "7", as-user-extra: {k: [v]}, exec: {apiVersion: client.authentication.k8s.io/v1, command: ./bin/plugin, args: null}}}
contexts:
- {name: second, context: {cluster: d, user: v, namespace: shop}}
- {name: third, context: {cluster: c, user: v}}
`;

test.serial('several files: the first one that sets a name or a value wins; paths belong to their own file', async (t) => {
  const folder = folderOf(t, { 'a/one': one, 'b/two': two });
  process.env['KUBECONFIG'] = [join(folder, 'a/one'), join(folder, 'none'), join(folder, 'b/two')].join(delimiter);
  const first = await loadContext();
  t.like(first, { context: 'first', server: 'https://one:6443', namespace: undefined });
  t.is(first.cluster['certificate-authority'], join(folder, 'a/ca.crt'));
  t.is(first.user['client-certificate'], join(folder, 'u.crt'));
  t.is(first.user.tokenFile, join(folder, 'a/token'));
  const second = await loadContext({ context: 'second' });
  t.like(second, { server: 'https://d', namespace: 'shop' });
  t.is(second.user.exec?.command, join(folder, 'b/bin/plugin'));
  t.like(second.user, { as: 'bob', 'as-groups': ['g'], 'as-uid': '7', 'as-user-extra': { k: ['v'] } });
  const third = await loadContext({ context: 'third' });
  t.is(third.server, 'https://one:6443');
  t.is(third.cluster['proxy-url'], undefined, 'nothing of the second entry of that name');
});

test.serial('without $KUBECONFIG it is ~/.kube/config; --kubeconfig wins over both', async (t) => {
  const folder = folderOf(t, { '.kube/config': one, other: two });
  t.is((await loadContext()).context, 'first');
  process.env['KUBECONFIG'] = join(folder, '.kube/config');
  t.is((await loadContext({ kubeconfig: join(folder, 'other') })).context, 'second');
});

test.serial('a kubeconfig in JSON is read', async (t) => {
  const folder = folderOf(t, {
    json: JSON.stringify({
      'current-context': 'x',
      clusters: [{ name: 'c', cluster: { server: 'http://s' } }],
      contexts: [{ name: 'x', context: { cluster: 'c' } }],
    }),
  });
  t.is((await loadContext({ kubeconfig: join(folder, 'json') })).server, 'http://s');
});

const fails = test.macro<[Record<string, string>, { kubeconfig?: string; context?: string }, string, RegExp]>(
  async (t, files, options, code, message) => {
    const folder = folderOf(t, files);
    const error = await t.throwsAsync(
      loadContext({ ...options, ...(options.kubeconfig !== undefined && { kubeconfig: join(folder, options.kubeconfig) }) }),
    );
    t.is(Reflect.get(error, 'code'), code, error.message);
    t.regex(`${error.message} ${String(Reflect.get(error, 'likely'))}`, message);
  },
);

test.serial('no kubeconfig at all', fails, {}, {}, 'KUBECONFIG_MISSING', /\.kube\/config/);
test.serial(
  'a kubeconfig that is named and is not there',
  fails,
  { '.kube/config': one },
  { kubeconfig: 'none' },
  'KUBECONFIG_MISSING',
  /none/,
);
test.serial(
  'a context that is not there: the others are listed',
  fails,
  { '.kube/config': two },
  { context: 'x' },
  'CONTEXT_UNKNOWN',
  /"x".*second, third/,
);
test.serial('no current context', fails, { '.kube/config': 'contexts: []' }, {}, 'CONTEXT_UNKNOWN', /no current context/);
test.serial('what is not YAML', fails, { '.kube/config': 'a: [' }, {}, 'KUBECONFIG_INVALID', /not understood/);
test.serial('what is of another type', fails, { '.kube/config': 'clusters: 5' }, {}, 'KUBECONFIG_INVALID', /clusters/);
test.serial(
  'a context with a cluster that is not there',
  fails,
  { '.kube/config': 'current-context: a\ncontexts: [{name: a, context: {cluster: zz}}]' },
  {},
  'KUBECONFIG_INVALID',
  /zz/,
);
