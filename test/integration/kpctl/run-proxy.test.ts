import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment, service } from './manifests.ts';
import { eventually, messages, portOf, Stage, type KpctlOptions } from './stage.ts';

const node = process.execPath;
/** A pod that sends every datagram back, and is ready when it listens. */
const echo = `const s = require('dgram').createSocket('udp4'); s.on('message', (m, from) => s.send(m, from.port, from.address)).bind(5300, () => require('net').createServer((c) => c.end()).listen(5300));`;
const echoing = `image: "lab/sh:dev", args: [${JSON.stringify(`exec ${node} -e "${echo}"`)}], ports: [{ containerPort: 5300, protocol: UDP }], readinessProbe: { tcpSocket: { port: 5300 }, periodSeconds: 1 }`;
const environment =
  'image: "lab/sh:dev", args: ["exec /bin/sleep 100000"], env: [{ name: GREETING, value: hello }, { name: NO_PROXY, value: ".local" }]';

const test = await labSuite(import.meta.filename, async () => {
  const stage = await Stage.open(
    deployment({ name: 'web', replicas: 2 }) +
      service('web') +
      deployment({ name: 'echo', sidecar: false, container: echoing }) +
      deployment({ name: 'configured', container: environment }),
  );
  await stage.lab.apply(readFileSync(new URL('../../../deploy/gateway.yaml', import.meta.url), 'utf8'));
  await stage.lab.waitReady();
  return stage;
});

const told = /^kpctl: --mode proxy: only what uses HTTP_PROXY, HTTPS_PROXY or ALL_PROXY reaches the cluster/;
const proxied = (stage: Stage, words: readonly string[], command: readonly string[], options: KpctlOptions = {}) =>
  stage.kpctl(['run', '--mode', 'proxy', ...words, '--', ...command], options);

test('curl, wget, Python and Node reach a Service by its names, by HTTP, CONNECT and SOCKS5', async (stage) => {
  const script = `
    set -e
    for name in web web.default web.default.svc.cluster.local; do curl -sS http://$name/status; done
    curl -sS -p http://web/status
    curl -sS --proxy "$ALL_PROXY" http://web/status
    wget -qO- http://web/status
    /usr/bin/python3 -c 'import urllib.request; print(urllib.request.urlopen("http://web/status").read().decode())'
    ${node} -e 'fetch("http://web/status").then((r) => r.text()).then((text) => console.log(text))'`;
  const { code, stdout, stderr } = await proxied(stage, [], ['sh', '-c', script]);
  assert.equal(stdout.match(/server on web-\S+ is well/g)?.length, 8, stdout + stderr);
  assert.match(stderr, told);
  assert.equal(code, 0);
});

test('what nobody answers is 502, and a wrong password 407', async (stage) => {
  const [pod = ''] = stage.pods('echo');
  const closed = `${stage.address(pod)}:5301`;
  const script = `
    curl -s -o /dev/null -w '%{http_code}\\n' http://${closed}/
    curl -s -o /dev/null -w '%{http_code}\\n' -x http://kpctl:wrong@\${HTTP_PROXY##*@} http://web/
    curl -s --socks5-hostname kpctl:wrong@\${HTTP_PROXY##*@} http://web/ || echo socks $?
    curl -s --proxy "$ALL_PROXY" http://${closed}/ || echo socks $?`;
  const { stdout, stderr } = await proxied(stage, [], ['sh', '-c', script]);
  assert.equal(stdout, '502\n407\nsocks 97\nsocks 97\n', stderr);
});

test("the laptop's own servers are called without the proxy, and by it", async (stage) => {
  const server = await stage.laptopServer('on the laptop');
  const url = `http://127.0.0.1:${portOf(server)}/`;
  const script = `curl -sS ${url}; curl -sS --noproxy '' -x "$HTTP_PROXY" ${url}`;
  const { stdout, stderr } = await proxied(stage, [], ['sh', '-c', script]);
  assert.equal(stdout.match(/on the laptop/g)?.length, 2, stderr);
  server.close();
});

test('datagrams go by SOCKS5 UDP ASSOCIATE, to a name and to an address', async (stage) => {
  const [pod = ''] = stage.pods('echo');
  await stage.lab.apply(service('echo', 'clusterIP: None,', 'echo'));
  await stage.lab.settled();
  const text = `
    import { connect } from 'node:net'; import { createSocket } from 'node:dgram'; import { once } from 'node:events';
    const { port, username, password } = new URL(process.env.HTTP_PROXY);
    const control = connect(Number(port), '127.0.0.1');
    const read = async () => (await once(control, 'data'))[0];
    control.write(Buffer.from([5, 1, 2])); await read();
    control.write(Buffer.concat([Buffer.from([1, username.length]), Buffer.from(username), Buffer.from([password.length]), Buffer.from(password)])); await read();
    control.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
    const relay = (await read()).readUInt16BE(8);
    const socket = createSocket('udp4');
    const ask = async (address, payload) => {
      socket.send(Buffer.concat([Buffer.from([0, 0, 0]), address, Buffer.from([5300 >> 8, 5300 & 255]), Buffer.from(payload)]), relay, '127.0.0.1');
      const [answer] = await once(socket, 'message');
      return answer.subarray(10).toString();
    };
    console.log(await ask(Buffer.from([3, 4, ...Buffer.from('echo')]), 'by name'), await ask(Buffer.from([1, ...'${stage.address(pod)}'.split('.').map(Number)]), 'by address'));
    process.exit();`;
  const { stdout, stderr } = await proxied(stage, [], [node, '--input-type=module', '-e', text]);
  assert.equal(stdout, 'by name by address\n', stderr);
});

test("COMMAND's exit code, its streams and its folder are its own; 127 and 126 are kpctl's", async (stage) => {
  const folder = stage.folder();
  const outcome = await proxied(stage, [], ['sh', '-c', 'pwd; cat; echo problem >&2; exit 7'], {
    input: 'in\n',
    prefix: ['env', '-C', folder],
  });
  assert.deepEqual([outcome.code, outcome.stdout], [7, `${folder}\nin\n`]);
  assert.match(outcome.stderr, /\nproblem\n$/);
  assert.equal((await proxied(stage, [], ['sh', '-c', 'kill -9 $$'])).code, 137);
  const missing = await proxied(stage, [], ['no-such-command']);
  assert.deepEqual([missing.code, missing.stderr.endsWith('[COMMAND_NOT_FOUND]\n')], [127, true]);
  assert.equal((await proxied(stage, [], [folder])).code, 126);
});

test('a signal for kpctl alone reaches COMMAND, and one for its whole group reaches it once', async (stage) => {
  const trap = `trap 'echo int' INT; trap 'echo hup' HUP; trap 'echo term; exit 9' TERM; echo started; while :; do sleep 0.1; done`;
  // A group of its own, which the test signals as a terminal does.
  await using run = stage.start(['run', '--mode', 'proxy', '--', 'sh', '-c', trap], { prefix: ['setsid', '-w'] });
  await run.waitForLine(/^started$/);
  const [pid = ''] = (await stage.laptop.attempt('pgrep', ['-f', 'run --mode proxy -- sh -c trap'])).stdout.trim().split('\n').slice(-2);
  const group = (await stage.laptop.attempt('ps', ['-o', 'pgid=', '-p', pid])).stdout.trim();
  process.kill(-Number(group), 'SIGINT');
  await run.waitForLine(/^int$/);
  await stage.laptop.attempt('pkill', ['-HUP', '-o', '-f', 'bin/kpctl.js run --mode proxy -- sh -c trap']);
  await run.waitForLine(/^hup$/);
  process.kill(-Number(group), 'SIGTERM');
  const { code, stdout } = await run.exited;
  assert.deepEqual([code, stdout], [9, 'started\nint\nhup\nterm\n']);
});

test("-w: the workload's environment, but for its own proxy settings; what the user sets comes last", async (stage) => {
  const { stdout, stderr } = await proxied(
    stage,
    ['-w', 'configured', '--unset', 'ALL_PROXY', '--env', 'all_proxy=mine'],
    ['sh', '-c', 'echo $GREETING, $NO_PROXY, ${ALL_PROXY-unset}, $all_proxy; curl -sS http://web/status'],
  );
  assert.match(stdout, /^hello, localhost,127\.0\.0\.1\S*, unset, mine\nserver on web-/, stderr);
});

test('--port: callers of the workload reach 127.0.0.1, held back until COMMAND listens', async (stage) => {
  const late = ['sh', '-c', 'sleep 2; exec "$@"', 'sh', ...stage.example, 'server', '18081'];
  await using run = stage.start(['run', '--mode', 'proxy', '-w', 'web', '--port', '18081:http', '--', ...late]);
  await run.waitForLine(/^kpctl: ready$/);
  assert.equal(await stage.call('web', 80), 'server on laptop is well');
  assert.match((await stage.kpctl(['status'])).stdout, /run .* deployment\/web .*18081:http/);
  run.kill('SIGTERM');
  const outcome = await run.exited;
  assert.deepEqual([outcome.code, messages(outcome).warnings], [0, []]);
  await eventually('the app answers', async () => (await stage.call('web', 80)).startsWith('server on web-'));
});

test('--files is refused: there is nowhere to put them', async (stage) => {
  const { code, stderr } = await proxied(stage, ['-w', 'web', '--files'], ['true']);
  assert.match(stderr, /\nkpctl: --files needs --mode network.*\[MODE_LACKS_FILES\]\n$/);
  assert.equal(code, 125);
});
