import assert from 'node:assert/strict';
import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment, service } from './manifests.ts';
import { assertRefused, endOf, eventually, messages, portOf, Stage } from './stage.ts';

const sh = 'image: "lab/sh:dev"';
/** Its containers never start, and nothing waits for them. */
const broken = deployment({ name: 'broken', replicas: 1, container: 'image: "nobody/knows:it"' });

const test = await labSuite(import.meta.filename, async () => {
  const stage = await Stage.open(
    deployment({ name: 'web', replicas: 2 }) +
      service('web') +
      'apiVersion: v1\nkind: Service\nmetadata: { name: outside }\nspec: { type: ExternalName, externalName: example.org }\n---\n' +
      deployment({ name: 'plain', sidecar: false, container: `${sh}, args: ["exec sleep 100000"], ports: [{ containerPort: 8080 }]` }) +
      deployment({ name: 'twice', sidecar: false, container: `${sh}, args: ["exec sleep 100000"]` }) +
      deployment({ name: 'twice', sidecar: false, container: `${sh}, args: ["exec sleep 100000"]` }).replace('Deployment', 'StatefulSet'),
  );
  await stage.lab.apply(broken);
  return stage;
});

/** Nothing was changed: no claim is left, and the runtime directory has no socket. */
async function assertNothingChanged(stage: Stage): Promise<void> {
  for (const pod of stage.pods('web')) assert.match(await stage.call(stage.address(pod), 8080), /^server on web-/);
  const files = readdirSync(stage.environment['XDG_RUNTIME_DIR'] ?? '', { recursive: true });
  assert.deepEqual(
    files.filter((name) => String(name).endsWith('.sock')),
    [],
  );
}

test('no kubeconfig', async (stage) => {
  const environment = { KUBECONFIG: undefined };
  const line = /no kubeconfig.*--kubeconfig.*\[KUBECONFIG_MISSING\]$/;
  assertRefused(await stage.kpctl(['intercept', 'web', '--port', '80'], { environment }), 1, line);
  assertRefused(await stage.kpctl(['run', '--', 'true'], { environment }), 125, /no kubeconfig.*\[KUBECONFIG_MISSING\]$/);
  assertRefused(await stage.kpctl(['list', '--kubeconfig', '/nowhere/config']), 1, /\/nowhere\/config.*\[KUBECONFIG_MISSING\]$/);
});

test('a context that the kubeconfig does not have', async (stage) => {
  assertRefused(await stage.kpctl(['list', '--context', 'prod']), 2, /"prod".*lab.*\[CONTEXT_UNKNOWN\]$/);
});

test('an API server that cannot be reached', async (stage) => {
  const kubeconfig = join(stage.folder(), 'config');
  const text = (server: string): string => `
apiVersion: v1
kind: Config
current-context: far
clusters: [{ name: far, cluster: { server: "${server}", insecure-skip-tls-verify: true } }]
users: [{ name: me, user: { token: t } }]
contexts: [{ name: far, context: { cluster: far, user: me } }]
`;
  writeFileSync(kubeconfig, text('https://127.0.0.1:9'));
  const refused = /the API server https:\/\/127\.0\.0\.1:9 cannot be reached \(connection refused.*check the network.*\[API_UNREACHABLE\]$/;
  assertRefused(await stage.kpctl(['list'], { kubeconfig }), 1, refused);
  assertRefused(await stage.kpctl(['intercept', 'web', '--port', '80'], { kubeconfig }), 1, refused);
  assertRefused(await stage.kpctl(['run', '--', 'true'], { kubeconfig }), 125, refused);
  writeFileSync(kubeconfig, text('https://nowhere.invalid'));
  assertRefused(await stage.kpctl(['list'], { kubeconfig }), 1, /cannot be reached \(its name cannot be resolved.*\[API_UNREACHABLE\]$/);
});

test('an expired token', async (stage) => {
  const kubeconfig = await stage.lab.addUser({ name: 'late', rules: [{ verbs: ['*'], resources: ['*'] }] });
  stage.lab.revoke('late');
  const line = /does not accept the kubeconfig's credentials \(401.*expired.*log in again.*\[API_UNAUTHORIZED\]$/;
  assertRefused(await stage.kpctl(['list'], { kubeconfig }), 1, line);
  assertRefused(await stage.kpctl(['intercept', 'web', '--port', '80'], { kubeconfig }), 1, line);
  assertRefused(await stage.kpctl(['run', '-w', 'web', '--', 'true'], { kubeconfig }), 125, line);
});

test('no right to port-forward: the verb and the resource are named', async (stage) => {
  const kubeconfig = await stage.lab.addUser({ name: 'reader', rules: [{ verbs: ['get', 'list', 'watch'], resources: ['*'] }] });
  const line = /"reader" cannot create resource "pods\/portforward".*ask for the right to create pods\/portforward.*\[API_FORBIDDEN\]$/;
  const server = await stage.laptopServer('laptop');
  const port = `${portOf(server)}:8080`;
  assertRefused(await stage.kpctl(['intercept', 'web', '--port', port], { kubeconfig }), 1, line);
  assertRefused(await stage.kpctl(['run', '-w', 'web', '--', 'true'], { kubeconfig }), 125, line);
  server.close();
});

test('no right to read anything: the verb and the resource are named', async (stage) => {
  const kubeconfig = await stage.lab.addUser({ name: 'nobody', rules: [] });
  assertRefused(await stage.kpctl(['intercept', 'web', '-p', '80'], { kubeconfig }), 1, /cannot get resource .*\[API_FORBIDDEN\]$/);
  assertRefused(await stage.kpctl(['list'], { kubeconfig }), 1, /cannot list resource "pods".*\[API_FORBIDDEN\]$/);
});

test('impersonation is asked of the API server', async (stage) => {
  await stage.lab.addUser({ name: 'weak', rules: [] });
  assertRefused(await stage.kpctl(['list', '--as', 'weak']), 1, /User "weak" cannot list.*\[API_FORBIDDEN\]$/);
});

test('a workload that is not there: near names are suggested', async (stage) => {
  const notFound = (words: string[], line: RegExp): Promise<void> =>
    stage.kpctl(['intercept', ...words, '--port', '8080']).then((outcome) => assertRefused(outcome, 1, line));
  await notFound(['wbe'], /there is no workload "wbe" in namespace default.*did you mean web.*\[WORKLOAD_NOT_FOUND\]$/);
  await notFound(['deploy/wbe'], /there is no deployment "wbe".*did you mean web.*\[WORKLOAD_NOT_FOUND\]$/);
  await notFound(['web', '-n', 'nowhere'], /"web" in namespace nowhere.*\[WORKLOAD_NOT_FOUND\]$/);
  assertRefused(await stage.kpctl(['env', 'wbe']), 1, /did you mean web.*\[WORKLOAD_NOT_FOUND\]$/);
  assertRefused(await stage.kpctl(['run', '-w', 'wbe', '--', 'true']), 125, /did you mean web.*\[WORKLOAD_NOT_FOUND\]$/);
});

test('a name that is no workload name, or a kind that is none', async (stage) => {
  const line = /is not (NAME or TYPE\/NAME|a kind of workload).*\[WORKLOAD_INVALID\]$/;
  assertRefused(await stage.kpctl(['intercept', 'a/b/c', '-p', '80']), 2, line);
  assertRefused(await stage.kpctl(['intercept', 'configmap/web', '-p', '80']), 2, line);
});

test('two matches are listed, exit code 2', async (stage) => {
  assertRefused(
    await stage.kpctl(['intercept', 'twice', '--port', '80']),
    2,
    /"twice" names deployment\/twice and statefulset\/twice.*say which: deployment\/twice or statefulset\/twice \[WORKLOAD_AMBIGUOUS\]$/,
  );
});

test('a workload without a ready pod', async (stage) => {
  const why = () => stage.lab.store.pods.list('default').some(({ status }) => /ErrImagePull/.test(JSON.stringify(status)));
  await eventually('the image cannot be pulled', why);
  const line = /deployment\/broken in namespace default has no ready pod \(broken-\S+ is \w+\); see "kubectl .*\[NO_READY_POD\]$/;
  assertRefused(await stage.kpctl(['intercept', 'broken', '--port', '80']), 1, line);
});

test('a pod without a sidecar: it says how to get one', async (stage) => {
  const line =
    /deployment\/plain in namespace default has pods without a kpeering sidecar \(kpeering is not installed.*"kpctl install".*--ephemeral.*\[SIDECAR_MISSING\]$/;
  assertRefused(await stage.kpctl(['intercept', 'plain', '--port', '8080']), 1, line);
  assertRefused(await stage.kpctl(['run', '-w', 'plain', '--', 'true']), 125, line);
});

test('a port that is neither number nor name, or out of range: usage', async (stage) => {
  assertRefused(await stage.kpctl(['intercept', 'web', '--port', '80a!']), 2, /--port.*number or its name.*"80a!".*\[USAGE\]$/);
  assertRefused(await stage.kpctl(['intercept', 'web', '--port', '70000:80']), 2, /--port.*1 to 65535.*"70000".*\[USAGE\]$/);
  assertRefused(await stage.kpctl(['run', '-w', 'web', '--port', '0', '--', 'true']), 125, /--port/);
});

test('a protocol that there is not, or what is no HOST:PORT: usage', async (stage) => {
  const usage = async (words: string[], line: RegExp): Promise<void> =>
    assertRefused(await stage.kpctl(['intercept', 'web', ...words]), 2, line);
  await usage(['--port', '80/sctp'], /--port.*\/tcp or \/udp.*"80\/sctp".*\[USAGE\]$/);
  await usage(['--outbound', 'db'], /--outbound.*expected \[LOCAL:\]HOST:PORT.*\[USAGE\]$/);
  await usage(['--outbound', 'db:0'], /--outbound.*PORT is a port from 1 to 65535.*"0".*\[USAGE\]$/);
  await usage(['--outbound', 'x:db:80'], /--outbound.*LOCAL is a port.*"x".*\[USAGE\]$/);
  await usage(['--outbound', '1:d_b:80'], /--outbound.*HOST is a Service.*"d_b".*\[USAGE\]$/);
  await usage(['--outbound', '127.0.0.1:80'], /calls of 127\.0\.0\.1 stay inside the pod.*\[OUTBOUND_LOOPBACK\]$/);
  await usage(['--outbound', '1:web:80', '--outbound', '2:web:http'], /--outbound names destination [\d.]+:80 twice \[PORT_REPEATED\]$/);
});

test('an outbound destination that is not there: the Service, its port, its address', async (stage) => {
  const refused = async (host: string, line: RegExp): Promise<void> =>
    assertRefused(await stage.kpctl(['intercept', 'web', '--outbound', host]), 1, line);
  await refused('nobody:80', /there is no Service "nobody" in namespace default; write HOST as .*\[SERVICE_NOT_FOUND\]$/);
  await refused('web.nowhere:80', /there is no Service "web" in namespace nowhere.*\[SERVICE_NOT_FOUND\]$/);
  await refused('web:8080', /the Service web has no TCP port 8080 \(its ports are 80 \(http\), 81 \(second\)\).*\[PORT_NOT_FOUND\]$/);
  await refused('10.0.0.1:http', /the address 10\.0\.0\.1 has no port named "http".*give its number \[PORT_NOT_FOUND\]$/);
  await refused('outside:80', /the Service outside stands for the name example\.org.*\[SERVICE_WITHOUT_ADDRESS\]$/);
  const server = await stage.laptopServer('laptop');
  const line =
    /destination [\d.]+:80 of pod web-\S+ is not captured .*outbound ports: none\); add 80 to KPEERING_OUTBOUND_PORTS .*\[PORT_NOT_CAPTURED\]$/;
  await refused(`${portOf(server)}:web:80`, line);
  server.close();
  await assertNothingChanged(stage);
});

test('no port, no workload, an unknown option or command: usage', async (stage) => {
  assertRefused(await stage.kpctl(['intercept', 'web']), 2, /needs --port or --outbound.*\[PORT_REQUIRED\]$/);
  assertRefused(await stage.kpctl(['intercept', '--port', '80']), 2, /workload/);
  assertRefused(await stage.kpctl(['list', '--wide']), 2, /--wide/);
  assertRefused(await stage.kpctl(['lsit']), 2, /lsit.*list/);
  assertRefused(await stage.kpctl(['run']), 125, /command/);
  assertRefused(await stage.kpctl(['run', '--port', '80', '--', 'true']), 125, /--port needs a workload.*-w.*\[WORKLOAD_REQUIRED\]$/);
});

test('a port name that no container declares, and a port that is ours', async (stage) => {
  assertRefused(
    await stage.kpctl(['intercept', 'web', '--port', '3000:grpc']),
    1,
    /no port named "grpc" \(it declares 8080 \(http\), 9090 \(other\).*\[PORT_NOT_FOUND\]$/,
  );
  assertRefused(await stage.kpctl(['intercept', 'service/web', '--port', '82']), 1, /service\/web has no TCP port 82.*80 \(http\)/);
  assertRefused(await stage.kpctl(['intercept', 'web', '--port', '15310']), 2, /one of kpeering's own.*\[PORT_RESERVED\]$/);
  assertRefused(await stage.kpctl(['intercept', 'web', '-p', '1:8080', '-p', '2:http']), 2, /8080 of web-\S+ twice \[PORT_REPEATED\]$/);
  await assertNothingChanged(stage);
});

test('a port that is not declared is allowed, with a warning', async (stage) => {
  const server = await stage.laptopServer('laptop');
  await using intercept = await stage.intercept(['web', '--port', `${portOf(server)}:7777`]);
  const [pod = ''] = stage.pods('web');
  assert.equal(await stage.call(stage.address(pod), 7777), 'laptop');
  intercept.kill('SIGINT');
  const outcome = await intercept.exited;
  assert.deepEqual(messages(outcome), {
    warnings: ['kpctl: warning: no container of deployment/web declares port 7777: nothing may listen there'],
    others: [],
  });
  server.close();
});

test('a local port on which nothing listens: a warning, callers are reset, and why is said', async (stage) => {
  await using intercept = await stage.intercept(['web', '--port', '4999:http']);
  await intercept.waitForLine(/^kpctl: warning: nothing listens on 127\.0\.0\.1:4999 yet/);
  const [pod = ''] = stage.pods('web');
  const socket = await stage.caller.connect({ host: stage.address(pod), port: 8080 });
  assert.equal(await endOf(socket), 'ECONNRESET');
  await intercept.waitForLine(/^kpctl: warning: a connection from 10\.244\.\S+ to web-\S+ was reset: 127\.0\.0\.1:4999.*ECONNREFUSED/);
  const server = await stage.laptopServer('late', 4999);
  assert.equal(await stage.call(stage.address(pod), 8080), 'late');
  intercept.kill('SIGINT');
  await intercept.exited;
  server.close();
  assert.match(await stage.call(stage.address(pod), 8080), /^server on web-/);
});

test('a port that somebody holds: who, and since when; the other pod is released again', async (stage) => {
  const server = await stage.laptopServer('bob');
  const bob = await stage.lab.addUser({ name: 'bob@example.org', rules: [{ verbs: ['*'], resources: ['*'] }] });
  const [first = '', second = ''] = stage.pods('web');
  const began = new Date().toISOString().slice(0, 16);
  // whichever pod is claimed first, the other one is held
  for (const held of [first, second]) {
    await using holder = await stage.intercept([`pod/${held}`, '--port', `${portOf(server)}:8080`], { kubeconfig: bob });
    const refused = await stage.kpctl(['intercept', 'web', '--port', `${portOf(server)}:8080`]);
    assertRefused(
      refused,
      1,
      new RegExp(
        `port 8080 of pod ${held} is claimed by \\S+@laptop \\(API user "bob@example\\.org"\\) since ${began.slice(0, 13)}.*"kpctl list".*\\[PORT_HELD\\]$`,
      ),
    );
    const free = held === first ? second : first;
    assert.match(await stage.call(stage.address(free), 8080), /^server on web-/);
    assert.equal(await stage.call(stage.address(held), 8080), 'bob');
    const run = await stage.kpctl(['run', '-w', 'web', '--port', '8080', '--', 'touch', '/dev/null']);
    assertRefused(run, 125, /is claimed by .*\[PORT_HELD\]$/);
    holder.kill('SIGINT');
    await holder.exited;
  }
  server.close();
  await assertNothingChanged(stage);
});

test('run: a command that does not exist (127), or cannot be executed (126)', async (stage) => {
  const folder = stage.folder();
  writeFileSync(join(folder, 'text'), 'no program');
  writeFileSync(join(folder, 'script'), '#!/nowhere/interpreter\n');
  chmodSync(join(folder, 'script'), 0o755);
  const run = (...command: string[]) => stage.kpctl(['run', '-w', 'web', '--', ...command]);
  assertRefused(await run('no-such-program'), 127, /no-such-program: command not found.*PATH.*\[COMMAND_NOT_FOUND\]$/);
  assertRefused(await run('/no/such/program'), 127, /\/no\/such\/program: command not found.*\[COMMAND_NOT_FOUND\]$/);
  assertRefused(await run(join(folder, 'text')), 126, /text cannot be executed: EACCES.*\[COMMAND_NOT_EXECUTABLE\]$/);
  assertRefused(await run(folder), 126, /cannot be executed: EACCES.*folder.*\[COMMAND_NOT_EXECUTABLE\]$/);
  assertRefused(await run(join(folder, 'script')), 126, /script cannot be executed.*interpreter.*\[COMMAND_NOT_EXECUTABLE\]$/);
});

test('run: user namespaces are forbidden: it says what to do', async (stage) => {
  // A user namespace of an ordinary user in which no further one may be made (namespaces(7), max_user_namespaces).
  const forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all "$@"';
  const prefix = ['unshare', '--user', '--map-user=65534', '--map-group=65534', '--keep-caps', '--', 'sh', '-c', forbid, 'sh'];
  assertRefused(
    await stage.kpctl(['run', '-w', 'web', '--', 'true'], { prefix }),
    125,
    /user namespaces are switched off: user\.max_user_namespaces is 0.*sysctl.*\[USER_NAMESPACES_FORBIDDEN\]$/,
  );
  await assertNothingChanged(stage);
});
