import { once } from 'node:events';
import { Agent, request as httpsRequest } from 'node:https';
import { connect } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { authorityBundle, type ServingCertificate } from '../../../src/operator/certificates/contents.ts';
import { WebhookServer, type WebhookServerOptions } from '../../../src/operator/webhook/server.ts';
import { issueServing as issue, webhookName as host } from './certificates.ts';

async function listen(
  t: ExecutionContext,
  certificate: ServingCertificate,
  options: Partial<WebhookServerOptions> = {},
): Promise<WebhookServer> {
  const server = await WebhookServer.listen({
    host: '127.0.0.1',
    port: 0,
    certificate,
    answer: async (body) => ({ status: 200, body: `{"length":${body.length}}` }),
    onHandshakeFailed: () => {},
    ...options,
  });
  t.teardown(async () => await server.close());
  return server;
}

/** As the API server calls: it trusts `ca` and nothing else, and keeps its connections. */
function caller(t: ExecutionContext, ca: string): Agent {
  const agent = new Agent({ keepAlive: true, ca });
  t.teardown(() => agent.destroy());
  return agent;
}

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
  readonly connection: string | undefined;
}

async function call(agent: Agent, port: number, body: string | Buffer, { path = '/mutate', method = 'POST' } = {}): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const request = httpsRequest({ agent, host: '127.0.0.1', port, servername: host, path, method }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, body: text, connection: response.headers.connection }));
    });
    request.on('error', reject).end(body);
  });
}

test('a caller that trusts only the caBundle is answered; one that trusts another authority is not', async (t) => {
  const certificate = await issue();
  let failed = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = await listen(t, certificate, {
    onHandshakeFailed: () => {
      failed++;
      resolve();
    },
  });
  t.deepEqual(
    await call(caller(t, authorityBundle({ current: certificate, next: undefined, previous: undefined })), server.port, 'hello'),
    {
      status: 200,
      body: '{"length":5}',
      connection: 'keep-alive',
    },
  );
  await t.throwsAsync(call(caller(t, (await issue()).authority), server.port, 'hello'), { message: /certificate/u });
  await promise;
  t.is(failed, 1);
});

test('a new certificate is for new connections; those that are open go on', async (t) => {
  const [one, other] = await Promise.all([issue(), issue()]);
  const server = await listen(t, one);
  const agent = caller(t, one.authority);
  await call(agent, server.port, 'before');
  server.setCertificate(other);
  t.is((await call(agent, server.port, 'after')).status, 200);
  t.is((await call(caller(t, other.authority), server.port, 'new')).status, 200);
  await t.throwsAsync(call(caller(t, one.authority), server.port, 'new'));
});

test('what is no POST to its path, or too long, is refused in words', async (t) => {
  const certificate = await issue();
  const server = await listen(t, certificate);
  const agent = caller(t, certificate.authority);
  t.is((await call(agent, server.port, '', { path: '/' })).status, 404);
  t.is((await call(agent, server.port, '', { method: 'GET' })).status, 405);
  t.is((await call(agent, server.port, Buffer.alloc(8 * 1024 * 1024), {})).status, 200);
  t.is((await call(agent, server.port, Buffer.alloc(8 * 1024 * 1024 + 1), {})).status, 413);
  t.is((await call(agent, server.port, 'still well')).status, 200);
});

test('a caller that goes away in the middle of its request harms nobody', async (t) => {
  const certificate = await issue();
  const server = await listen(t, certificate);
  const socket = connect({ host: '127.0.0.1', port: server.port, servername: host, ca: certificate.authority });
  await once(socket, 'secureConnect');
  socket.write('POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf');
  socket.destroy();
  t.is((await call(caller(t, certificate.authority), server.port, 'whole')).status, 200);
});

test('it ends when the answers that are under way are given, and tells callers to go elsewhere before that', async (t) => {
  const certificate = await issue();
  const asked = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const server = await listen(t, certificate, {
    answer: async (body) => {
      if (body === 'slow') {
        asked.resolve();
        await go.promise;
      }
      return { status: 200, body: '{}' };
    },
  });
  const agent = caller(t, certificate.authority);
  await call(agent, server.port, 'before');
  server.drain();
  t.is((await call(agent, server.port, 'while it drains')).connection, 'close');
  const slow = call(agent, server.port, 'slow');
  await asked.promise;
  const closed = server.close();
  go.resolve();
  t.is((await slow).status, 200);
  await closed;
  await server.close();
  await t.throwsAsync(call(caller(t, certificate.authority), server.port, 'too late'), { message: /ECONNREFUSED|ECONNRESET/ });
});

test('requests that are too much together are refused, and forgotten when they have ended', async (t) => {
  const certificate = await issue();
  const server = await listen(t, certificate);
  const piece = Buffer.alloc(8 * 1024 * 1024 - 1);
  const open = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const socket = connect({ host: '127.0.0.1', port: server.port, servername: host, ca: certificate.authority });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      socket.write(`POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-length: ${piece.length + 1}\r\n\r\n`);
      socket.write(piece);
      return socket;
    }),
  );
  t.teardown(() => open.forEach((socket) => socket.destroy()));
  const agent = caller(t, certificate.authority);
  const status = async (): Promise<number | undefined> => (await call(agent, server.port, Buffer.alloc(1024 * 1024))).status;
  // What the others have sent is on its way.
  while ((await status()) === 200);
  t.is(await status(), 503);
  for (const socket of open) socket.destroy();
  while ((await status()) === 503);
  t.is(await status(), 200);
});
