import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import test from 'ava';
import { EVERYWHERE, HealthServer } from '../../../src/kpeering/health.ts';
import { processMetrics, renderMetrics, type Metric } from '../../../src/kpeering/metrics.ts';

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

test('metrics are asked for when somebody looks', async (t) => {
  let flows = 1;
  const metrics: Metric[] = [
    { name: 'kpeering_flows_total', help: 'Flows', type: 'counter', value: () => [{ labels: { to: 'a"\\\n' }, value: flows }] },
    { name: 'kpeering_claims', help: 'Claims\nactive', type: 'gauge', value: () => 2 },
  ];
  await using server = await HealthServer.listen('127.0.0.1', 0, metrics);
  flows = 7;
  const { type, body } = await ask(server.port, '/metrics');
  t.is(type, 'text/plain; version=0.0.4; charset=utf-8');
  t.is(
    body,
    [
      '# HELP kpeering_flows_total Flows',
      '# TYPE kpeering_flows_total counter',
      'kpeering_flows_total{to="a\\"\\\\\\n"} 7',
      '# HELP kpeering_claims Claims\\nactive',
      '# TYPE kpeering_claims gauge',
      'kpeering_claims 2',
      '',
    ].join('\n'),
  );
});

test('the restarts are those of the supervisor', (t) => {
  t.regex(renderMetrics(processMetrics({ KPEERING_RESTARTS: '3' })), /^kpeering_restarts_total 3$/mu);
  t.regex(renderMetrics(processMetrics({})), /^kpeering_restarts_total 0$/mu);
});
