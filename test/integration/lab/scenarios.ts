import { strict as assert } from 'node:assert';
import type { Duplex } from 'node:stream';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { outsideListener, startLab, type Lab } from '../../../src/lab/index.ts';
import { connectCluster } from '../../../src/cluster/connect.ts';
import { createLogger } from '../../../src/platform/log.ts';
import { refuseSpdy } from '../../harness/spdy-refusing-gateway.ts';

const program = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const images = {
  'lab/examples:dev': { entrypoint: [process.execPath, program('../../../deploy/examples/apps/main.js')] },
  'lab/echo:dev': { entrypoint: [process.execPath, program('echo.ts')] },
  'lab/sh:dev': { entrypoint: ['sh', '-c'] },
};

export async function openLab(): Promise<Lab> {
  return await startLab({ images, log: createLogger('lab', 'warn'), bookmarkMilliseconds: 100, backoffMilliseconds: 100 });
}

function deployment(name: string, container: string, replicas = 1): string {
  return `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 2
      containers: [${container}]
---
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { selector: { app: ${name} }, ports: [{ name: main, port: 80, targetPort: main }] }
---
`;
}

const server = (name: string, replicas = 1): string =>
  deployment(
    name,
    '{ name: server, image: "lab/examples:dev", args: [server, "8080"], ports: [{ name: main, containerPort: 8080 }], readinessProbe: { tcpSocket: { port: main } } }',
    replicas,
  );
const echo = deployment(
  'echo',
  '{ name: echo, image: "lab/echo:dev", ports: [{ name: main, containerPort: 9000 }], readinessProbe: { tcpSocket: { port: main } } }',
);

async function body(lab: Lab, pod: string, url: string): Promise<string> {
  const script = `fetch(process.argv[1], { signal: AbortSignal.timeout(3000) }).then(async (r) => process.stdout.write(await r.text())).catch((e) => { process.stdout.write(String(e.cause?.code ?? e)); })`;
  return (await lab.execInPod('default', pod, [process.execPath, '-e', script, url])).stdout;
}

/** Waits for a condition of the lab's objects. */
export async function until(lab: Lab, condition: () => boolean): Promise<void> {
  const late = Date.now() + 20_000;
  while (!condition()) {
    assert.ok(Date.now() < late, 'the condition did not come true in time');
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  await lab.settled();
}

const objectSchema = z.looseObject({
  kind: z.string(),
  code: z.number().optional(),
  message: z.string().optional(),
  metadata: z.looseObject({ name: z.string().optional(), resourceVersion: z.string().optional() }),
});
const listSchema = objectSchema.extend({ items: z.array(objectSchema) });
const kubeconfigSchema = z.object({
  clusters: z.tuple([z.object({ cluster: z.object({ server: z.string(), 'certificate-authority-data': z.string() }) })]),
  users: z.tuple([z.object({ user: z.object({ token: z.string() }) })]),
});

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

/** A raw client of the API: `get` answers status and JSON, `watch` yields events. */
export function rawApi(kubeconfig: string, headers: Readonly<Record<string, string>> = {}) {
  const { clusters, users } = kubeconfigSchema.parse(parse(readFileSync(kubeconfig, 'utf8')));
  const { server: url, 'certificate-authority-data': authority } = clusters[0].cluster;
  const options = {
    ca: Buffer.from(authority, 'base64'),
    agent: false,
    headers: { authorization: `Bearer ${users[0].user.token}`, ...headers },
  } as const;
  const open = async (path: string, method = 'GET') => {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${url}${path}`, { ...options, method }, resolve)
        .on('error', reject)
        .end();
    });
    response.setEncoding('utf8');
    return response;
  };
  const text = async (response: AsyncIterable<string>): Promise<string> => (await collect(response)).join('');
  return {
    get: async (path: string, method = 'GET') => {
      const response = await open(path, method);
      return { status: response.statusCode, value: JSON.parse(await text(response)) as unknown };
    },
    watch: async function* (path: string) {
      const response = await open(path);
      let rest = '';
      for await (const chunk of response as AsyncIterable<string>) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) yield z.object({ type: z.string(), object: objectSchema }).parse(JSON.parse(line));
      }
    },
  };
}

export const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  async network() {
    await using lab = await openLab();
    await lab.apply(server('web', 2) + server('other'));
    await lab.waitReady();
    const [caller = ''] = lab.podNames('default', { app: 'other' });
    const pods = lab.podNames('default', { app: 'web' });
    const seen = new Set<string>();
    for (const name of ['web', 'web.default', 'web.default.svc.cluster.local', 'WEB'])
      seen.add(await body(lab, caller, `http://${name}/status`));
    assert.deepEqual([...seen].sort(), pods.map((pod) => `server on ${pod} is well\n`).sort());
    const vip = lab.store.services.get('default', 'web')?.spec.clusterIP ?? '';
    assert.match(await body(lab, caller, `http://${vip}/status`), /^server on web-/);
    assert.equal(await body(lab, caller, `http://${vip}:81/status`), 'ECONNREFUSED');
    const [pod = ''] = pods;
    assert.equal(await body(lab, caller, `http://${lab.pod('default', pod).address}:8080/status`), `server on ${pod} is well\n`);
    // A pod that is its Service's only endpoint reaches itself through it.
    assert.equal(await body(lab, caller, 'http://other/status'), `server on ${caller} is well\n`);
    // The caller's address is kept.
    const reach = async (address: string, port: number): Promise<number> =>
      (
        await lab.runOnLaptop([
          process.execPath,
          '-e',
          `require('net').connect({host:'${address}',port:${port},timeout:2000}).on('connect',()=>process.exit(0)).on('error',()=>process.exit(1)).on('timeout',()=>process.exit(2))`,
        ])
      ).code;
    assert.equal(await reach('172.30.0.1', 6443), 0);
    assert.notEqual(await reach(vip, 80), 0);
    assert.notEqual(await reach(lab.pod('default', pod).address, 8080), 0);
    assert.notEqual(await reach('10.96.0.10', 53), 0);
  },

  async watch() {
    await using lab = await openLab();
    const api = rawApi(lab.kubeconfigs.laptop);
    const list = listSchema.parse((await api.get('/api/v1/namespaces/default/configmaps')).value);
    assert.equal(list.kind, 'ConfigMapList');
    const from = list.metadata.resourceVersion ?? '';
    const path = `/api/v1/namespaces/default/configmaps?watch=1&labelSelector=team%3Da&allowWatchBookmarks=true`;
    await lab.apply('{ apiVersion: v1, kind: ConfigMap, metadata: { name: one, labels: { team: a } } }');
    await lab.apply('{ apiVersion: v1, kind: ConfigMap, metadata: { name: two, labels: { team: b } } }');
    const types: string[] = [];
    for await (const { type, object } of api.watch(`${path}&resourceVersion=${from}`)) {
      if (type === 'BOOKMARK' && types.at(-1) === 'BOOKMARK') continue;
      types.push(type);
      if (type === 'ADDED') await lab.apply('{ apiVersion: v1, kind: ConfigMap, metadata: { name: one, labels: { team: b } } }');
      // It matches no more.
      if (type === 'DELETED') assert.equal(object.metadata.name, 'one');
      if (type === 'BOOKMARK' && types.includes('DELETED')) break;
    }
    assert.deepEqual(
      types.filter((type) => type !== 'BOOKMARK'),
      ['ADDED', 'DELETED'],
    );
    // A watch ends by its time, with a last bookmark.
    const last = await collect(api.watch(`${path}&timeoutSeconds=1`));
    assert.equal(last.at(-1)?.type, 'BOOKMARK');
    // A forgotten version is 410 in the stream; a watch that runs is told as well.
    const running = api.watch(`${path}&resourceVersion=${last.at(-1)?.object.metadata.resourceVersion}`);
    assert.equal((await running.next()).value?.type, 'BOOKMARK');
    lab.api.expire();
    for await (const { type, object } of running) if (type !== 'BOOKMARK') assert.equal(object.code, 410);
    const expired = await collect(api.watch(`${path}&resourceVersion=${from}`));
    assert.deepEqual(
      expired.map(({ type, object }) => [type, object.code]),
      [['ERROR', 410]],
    );
    const named = listSchema.parse((await api.get('/api/v1/configmaps?fieldSelector=metadata.name%3Dtwo')).value);
    assert.deepEqual(
      named.items.map(({ metadata }) => metadata.name),
      ['two'],
    );
  },

  async rights() {
    await using lab = await openLab();
    await lab.createNamespace('shop');
    const bob = rawApi(
      await lab.addUser({ name: 'bob', rules: [{ verbs: ['get', 'list'], resources: ['services'], namespaces: ['shop'] }] }),
    );
    const message = async (path: string, method?: string): Promise<[number | undefined, string | undefined]> => {
      const { status, value } = await bob.get(path, method);
      return [status, objectSchema.parse(value).message];
    };
    assert.equal((await bob.get('/api/v1/namespaces/shop/services')).status, 200);
    assert.deepEqual(await message('/api/v1/namespaces/shop/pods'), [
      403,
      'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "shop"',
    ]);
    assert.deepEqual(await message('/apis/apps/v1/namespaces/shop/deployments/web'), [
      403,
      'deployments.apps "web" is forbidden: User "bob" cannot get resource "deployments" in API group "apps" in the namespace "shop"',
    ]);
    assert.deepEqual(await message('/api/v1/services'), [
      403,
      'services is forbidden: User "bob" cannot list resource "services" in API group "" at the cluster scope',
    ]);
    assert.deepEqual(await message('/api/v1/namespaces/shop/services/web'), [404, 'services "web" not found']);
    assert.deepEqual(await message('/apis/none/v1/things'), [404, 'the server could not find the requested resource']);
    const asBob = rawApi(lab.kubeconfigs.laptop, { 'impersonate-user': 'bob' });
    assert.equal((await asBob.get('/api/v1/namespaces/shop/pods')).status, 403);
    const review = await asBob.get('/apis/authentication.k8s.io/v1/selfsubjectreviews', 'POST');
    assert.deepEqual(
      [
        review.status,
        z.object({ status: z.object({ userInfo: z.looseObject({ username: z.string() }) }) }).parse(review.value).status.userInfo.username,
      ],
      [201, 'bob'],
    );
    lab.revoke('bob');
    assert.deepEqual(await message('/api/v1/namespaces/shop/services'), [401, 'Unauthorized']);
  },

  async portForward() {
    await using lab = await openLab();
    await lab.apply(echo);
    await lab.waitReady();
    const [pod = ''] = lab.podNames('default', { app: 'echo' });
    for (const transport of ['spdy', 'websocket'] as const) {
      await using cluster = await connectCluster({ kubeconfig: lab.kubeconfigs.laptop, transport });
      assert.equal(await cluster.whoAmI(), 'admin');
      await carriesUnchanged(await cluster.portForward({ namespace: 'default', pod, port: 9000 }));
      assert.equal(cluster.transport, transport);
      await assert.rejects(async () => {
        const refused = await cluster.portForward({ namespace: 'default', pod, port: 9 });
        refused.resume();
        await once(refused, 'close');
      }, /connection refused/);
    }
    await using gateway = await refuseSpdy(lab.kubeconfigs.laptop);
    await using cluster = await connectCluster({ kubeconfig: gateway.kubeconfig });
    await carriesUnchanged(await cluster.portForward({ namespace: 'default', pod, port: 9000 }));
    assert.equal(cluster.transport, 'websocket');
    assert.deepEqual(gateway.upgrades, ['SPDY/3.1', 'websocket']);
  },

  async replacement() {
    await using lab = await openLab();
    await lab.apply(server('web'));
    await lab.waitReady();
    const [first = ''] = lab.podNames('default');
    await lab.apply(server('web', 3));
    await lab.waitReady();
    assert.equal(lab.podNames('default').length, 3);
    await lab.apply(server('web', 1));
    await lab.waitReady();
    await until(lab, () => lab.store.pods.list('default').length === 1);
    const [kept = ''] = lab.podNames('default');
    lab.deletePod('default', kept);
    await until(lab, () => lab.store.pods.get('default', kept) === undefined);
    await lab.waitReady();
    const [next = ''] = lab.podNames('default');
    assert.match(next, /^web-[a-z0-9]{10}-[a-z0-9]{5}$/);
    assert.notEqual(next, kept);
    assert.ok(first !== '');
    assert.equal(await body(lab, next, 'http://web/status'), `server on ${next} is well\n`);
    await lab.delete(server('web'));
    await until(lab, () => lab.store.pods.list().length === 0 && lab.store.endpointSlices.list('default').length === 1);
  },

  /** Stays until it is killed; the parent is told what to look for from outside. */
  async stay() {
    const listener = await outsideListener();
    const directory = process.argv[3] ?? '';
    const lab = await startLab({ images, log: createLogger('lab', 'warn'), apiListener: listener, directory });
    await lab.apply(server('web'));
    await lab.waitReady();
    process.send?.({ result: 'passed' });
    await new Promise(() => undefined);
  },

  async kubelet() {
    await using lab = await openLab();
    await lab.apply(`
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { GREETING: hello }
---
apiVersion: v1
kind: Secret
metadata: { name: secret }
stringData: { PASSWORD: s3cret }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db }
spec:
  replicas: 2
  serviceName: db
  selector: { matchLabels: { app: db } }
  template:
    metadata: { labels: { app: db } }
    spec:
      terminationGracePeriodSeconds: 1
      initContainers:
        - { name: rules, image: "lab/sh:dev", args: ["echo init; ip addr add 192.0.2.7/32 dev lo"] }
        - { name: side, image: "lab/sh:dev", restartPolicy: Always, args: ["echo side $$; exec sleep 1000"] }
      containers:
        - name: main
          image: lab/sh:dev
          args: ["env; cat /etc/hosts; ip -o addr show dev lo; exec sleep 1000"]
          envFrom: [{ configMapRef: { name: settings } }, { secretRef: { name: secret } }]
          env: [{ name: POD_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }, { name: BOTH, value: $(GREETING)-$(PASSWORD) }]
---
apiVersion: v1
kind: Service
metadata: { name: db }
spec: { clusterIP: None, selector: { app: db }, ports: [{ port: 5432 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: late }
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: lab/sh:dev
      args: ["sleep 0.8; exec ${process.execPath} ${program('echo.ts')}"]
      readinessProbe: { tcpSocket: { port: 9000 } }
      livenessProbe: { tcpSocket: { port: 9000 }, periodSeconds: 5, failureThreshold: 1, initialDelaySeconds: 3 }
---
apiVersion: v1
kind: Pod
metadata: { name: unknown }
spec: { terminationGracePeriodSeconds: 0, containers: [{ name: main, image: "nobody/knows:it" }] }
`);
    const ready = (name: string): boolean =>
      lab.store.pods.get('default', name)?.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
    await until(lab, () => ready('db-0') && ready('db-1'));
    // A liveness probe does not end a container that is still starting.
    await until(lab, () => ready('late'));
    assert.equal(lab.store.pods.get('default', 'late')?.status.containerStatuses[0]?.restartCount, 0);
    const address = lab.pod('default', 'db-1').address;
    const printed = await lab.logs('default', 'db-1', 'main');
    for (const line of [
      'HOSTNAME=db-1',
      'GREETING=hello',
      'PASSWORD=s3cret',
      'BOTH=hello-s3cret',
      `POD_IP=${address}`,
      'KUBERNETES_SERVICE_HOST=10.96.0.1',
      '192.0.2.7',
    ]) {
      assert.ok(printed.includes(line), `${line} in:\n${printed}`);
    }
    const resolved = await lab.execInPod('default', 'db-0', ['getent', 'ahostsv4', 'db-1.db']);
    assert.ok(resolved.stdout.startsWith(`${address} `), JSON.stringify(resolved));
    // A sidecar that dies comes back, without the application being restarted.
    const pid = /side (\d+)/.exec(await lab.logs('default', 'db-0', 'side'))?.[1];
    process.kill(Number(pid), 'SIGKILL');
    await until(lab, () => lab.store.pods.get('default', 'db-0')?.status.initContainerStatuses[1]?.restartCount === 1 && ready('db-0'));
    assert.equal(lab.store.pods.get('default', 'db-0')?.status.containerStatuses[0]?.restartCount, 0);
    await until(lab, () => lab.store.pods.get('default', 'unknown')?.status.containerStatuses[0]?.state.waiting?.reason === 'ErrImagePull');
  },
};

/** 64 MiB to a server that sends all back. */
async function carriesUnchanged(stream: Duplex): Promise<void> {
  const sent = createHash('sha256');
  const received = createHash('sha256');
  const size = 64 * 1024 * 1024;
  let length = 0;
  const all = new Promise<void>((resolve, reject) => {
    stream.on('error', reject);
    stream.on('data', (chunk: Buffer) => {
      received.update(chunk);
      length += chunk.length;
      if (length === size) resolve();
    });
  });
  for (let offset = 0; offset < size; offset += 1024 * 1024) {
    const chunk = randomBytes(1024 * 1024);
    sent.update(chunk);
    if (!stream.write(chunk)) await once(stream, 'drain');
  }
  await all;
  stream.destroy();
  assert.equal(received.digest('hex'), sent.digest('hex'));
}
