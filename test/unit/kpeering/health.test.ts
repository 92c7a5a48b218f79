import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import test from 'ava';
import { EVERYWHERE, HealthServer } from '../../../src/kpeering/health.ts';
import { processMetrics, renderMetrics, type Metric } from '../../../src/kpeering/metrics.ts';
import { parseExposition } from '../../harness/prometheus-text.ts';

async function ask(port: number, path: string, method = 'GET') {
  const sent = request({ host: '127.0.0.1', port, path, method, agent: false }).end();
  const response = await new Promise<IncomingMessage>((resolve, reject) => sent.on('response', resolve).on('error', reject));
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += String(chunk);
  return { status: response.statusCode, type: response.headers['content-type'], body };
}

/** What the server answers to bytes, up to its end. */
async function say(port: number, bytes: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  socket.end(bytes);
  let answer = '';
  for await (const chunk of socket.setEncoding('latin1')) answer += String(chunk);
  return answer;
}

/** Connections that never say anything. */
class Silent implements AsyncDisposable {
  readonly #port: number;
  readonly #sockets = new Set<Socket>();

  constructor(port: number) {
    this.#port = port;
  }

  get open(): number {
    return this.#sockets.size;
  }

  async connect(): Promise<Socket> {
    const socket = connect({ host: '127.0.0.1', port: this.#port });
    this.#sockets.add(socket);
    socket
      .on('error', () => undefined)
      .on('close', () => this.#sockets.delete(socket))
      .resume();
    await once(socket, 'connect');
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.resolve();
  }
}

test('readiness is told as it is, and health always', async (t) => {
  await using server = await HealthServer.listen('127.0.0.1', 0);
  t.deepEqual(await ask(server.port, '/readyz'), { status: 503, type: 'text/plain; charset=utf-8', body: 'starting\n' });
  server.readiness = 'ready';
  t.is((await ask(server.port, '/readyz?verbose')).status, 200);
  server.readiness = 'draining';
  t.is((await ask(server.port, '/readyz')).body, 'draining\n');
  t.is((await ask(server.port, '/healthz')).body, 'ok\n');
});

test('it is read-only, and answers what it does not know', async (t) => {
  await using server = await HealthServer.listen('127.0.0.1', 0);
  t.is((await ask(server.port, '/healthz', 'POST')).status, 405);
  t.is((await ask(server.port, '/claims')).status, 404);
  const head = await say(server.port, 'HEAD /healthz HTTP/1.1\r\nhost: a\r\n\r\n');
  t.regex(head, /^HTTP\/1\.1 200 OK\r\n(?:.+\r\n)*content-length: 3\r\n(?:.+\r\n)*\r\n$/u);
  t.regex(await say(server.port, 'GET /healthz HTTP/1.0\n\n'), /^HTTP\/1\.1 200 /u);
  t.regex(await say(server.port, 'EHLO there\r\n\r\n'), /^HTTP\/1\.1 400 /u);
  t.regex(await say(server.port, `GET /healthz HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /u);
  t.is(await say(server.port, ''), '');
  t.is(await say(server.port, 'GET /healthz'), '');
});

test('a wildcard listener answers in IPv4; closing ends who waits', async (t) => {
  const server = await HealthServer.listen(EVERYWHERE, 0);
  t.is((await ask(server.port, '/healthz')).status, 200);
  const waiting = connect({ host: '127.0.0.1', port: server.port });
  await once(waiting, 'connect');
  waiting.write('GET ');
  const ended = new Promise((resolve) =>
    waiting
      .on('error', () => undefined)
      .on('close', resolve)
      .resume(),
  );
  await Promise.all([server.close(), server.close()]);
  await ended;
  t.pass();
});

test('a connection that says nothing makes room for one that asks', async (t) => {
  await using server = await HealthServer.listen('127.0.0.1', 0);
  await using silent = new Silent(server.port);
  const oldest = await silent.connect();
  const ended = once(oldest, 'close');
  for (let connection = 1; connection < 64; connection++) await silent.connect();
  t.is((await ask(server.port, '/healthz')).body, 'ok\n');
  await ended;
  // as many as one likes
  for (let connection = 0; connection < 200; connection++) await silent.connect();
  t.is((await ask(server.port, '/metrics')).status, 200);
  t.is(silent.open, 63);
});

test('a request that is under way is not what makes room', async (t) => {
  const value = Promise.withResolvers<undefined>();
  await using server = await HealthServer.listen('127.0.0.1', 0, [
    { name: 'kpeering_slow', help: 'Slow', type: 'gauge', value: () => (value.resolve(undefined), 1) },
  ]);
  await using silent = new Silent(server.port);
  const asking = connect({ host: '127.0.0.1', port: server.port });
  asking.write('GET /metrics HTTP/1.1\r\n\r\n');
  await value.promise;
  for (let connection = 0; connection < 100; connection++) await silent.connect();
  let answer = '';
  for await (const chunk of asking.setEncoding('latin1')) answer += String(chunk);
  t.regex(answer, /^kpeering_slow 1$/mu);
});

test('metrics are asked for when somebody looks', async (t) => {
  let flows = 1;
  const metrics: Metric[] = [
    {
      name: 'kpeering_flows_total',
      help: 'Flows',
      type: 'counter',
      labels: ['to'],
      value: () => [{ labels: { to: 'a"\\\n' }, value: flows }],
    },
    { name: 'kpeering_claims', help: 'Claims\nactive', type: 'gauge', value: () => 2 },
    { name: 'kpeering_nothing_total', help: 'Nothing', type: 'counter', labels: ['to'], value: () => [] },
  ];
  await using server = await HealthServer.listen('127.0.0.1', 0, metrics);
  t.is((await ask(server.port, '/metrics')).status, 200);
  flows = 7;
  const { type, body } = await ask(server.port, '/metrics');
  t.is(type, 'text/plain; version=0.0.4; charset=utf-8');
  t.deepEqual(parseExposition(body), [
    {
      name: 'kpeering_flows_total',
      help: 'Flows',
      type: 'counter',
      samples: [{ name: 'kpeering_flows_total', labels: { to: 'a"\\\n' }, value: 7 }],
    },
    {
      name: 'kpeering_claims',
      help: 'Claims\\nactive',
      type: 'gauge',
      samples: [{ name: 'kpeering_claims', labels: {}, value: 2 }],
    },
    { name: 'kpeering_nothing_total', help: 'Nothing', type: 'counter', samples: [] },
  ]);
});

test('a metric that cannot be told is an answer, too, and no end of the process', async (t) => {
  await using server = await HealthServer.listen('127.0.0.1', 0, [
    {
      name: 'kpeering_broken',
      help: 'Broken',
      type: 'gauge',
      value: () => {
        throw new Error('no value');
      },
    },
  ]);
  t.deepEqual(await ask(server.port, '/metrics'), {
    status: 500,
    type: 'text/plain; charset=utf-8',
    body: 'a bug in kpeering: no value\n',
  });
  t.is((await ask(server.port, '/healthz')).status, 200);
});

test('the restarts are those of the supervisor', async (t) => {
  t.regex(await renderMetrics(processMetrics({ KPEERING_RESTARTS: '3' })), /^kpeering_restarts_total 3$/mu);
  t.regex(await renderMetrics(processMetrics({})), /^kpeering_restarts_total 0$/mu);
});
