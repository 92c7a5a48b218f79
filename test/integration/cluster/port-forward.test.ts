import { once } from 'node:events';
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import type { Transport } from '../../../src/cluster/types.ts';
import { clusterOf, json, startApi } from './api.ts';
import { startPortForwardApi, type PortForwardApi, type Serve } from './port-forward-api.ts';

const target = { namespace: 'shop', pod: 'web-1', port: 8080 };

type Start = (t: ExecutionContext, serve: Serve) => Promise<PortForwardApi>;

/** The same over each protocol. */
function overBoth(title: string, body: (t: ExecutionContext, start: Start, transport: Transport) => Promise<void>): void {
  for (const transport of ['spdy', 'websocket'] as const) {
    test(`${transport}: ${title}`, async (t) =>
      await body(t, async (_, serve) => await startPortForwardApi(t, serve, { transport }), transport));
  }
}

overBoth('a port-forward carries bytes both ways, and destroying it closes its connection', async (t, start, transport) => {
  const closed = Promise.withResolvers<void>();
  const { cluster, requests } = await start(t, (data, errors, socket) => {
    errors.resume();
    data.pipe(data);
    socket.on('close', () => closed.resolve());
  });
  const duplex = await cluster.portForward(target);
  const url = '/prefix/api/v1/namespaces/shop/pods/web-1/portforward';
  const [request] = requests;
  t.deepEqual([request?.method, request?.url], transport === 'spdy' ? ['POST', url] : ['GET', `${url}?ports=8080`]);
  t.like(request?.headers, { authorization: 'Bearer x', 'impersonate-user': 'bob' });
  t.is(request?.headers.upgrade, transport === 'spdy' ? 'SPDY/3.1' : 'websocket');
  t.is(cluster.transport, transport);
  const sent = createHash('sha256');
  const back = createHash('sha256');
  const chunk = Buffer.alloc(300_001, 'kpeering');
  let left = 24 * 1024 * 1024;
  const received = (async () => {
    let missing = left;
    for await (const bytes of duplex as AsyncIterable<Buffer>) {
      back.update(bytes);
      missing -= bytes.length;
      if (missing <= 0) return;
    }
  })();
  while (left > 0) {
    const part = chunk.subarray(0, Math.min(left, chunk.length));
    sent.update(part);
    left -= part.length;
    if (!duplex.write(part)) await once(duplex, 'drain');
  }
  await received;
  t.is(back.digest('hex'), sent.digest('hex'));
  duplex.destroy();
  await closed.promise;
});

overBoth('what the kubelet says on the error stream becomes the error of the duplex', async (t, start) => {
  const { cluster } = await start(t, (data, errors) => {
    errors.end('error forwarding port 8080: dial tcp4 127.0.0.1:8080: connect: connection refused');
    data.end();
  });
  const error = await t.throwsAsync(async () => {
    const duplex = await cluster.portForward(target);
    duplex.resume();
    await once(duplex, 'close');
  });
  t.is(Reflect.get(error, 'code'), 'PORT_FORWARD_FAILED');
  t.regex(error.message, /shop\/web-1:8080 failed: .*connection refused/);
});

overBoth('a connection that breaks is an error of the duplex', async (t, start) => {
  const { cluster } = await start(t, (data, _errors, socket) => {
    data.once('data', () => socket.destroy());
  });
  const duplex = await cluster.portForward(target);
  const [error]: unknown[] = await new Promise((resolve) => {
    duplex.once('error', (...args) => resolve(args));
    duplex.write('x');
  });
  t.true(error instanceof Error);
});

overBoth('a writer to a pod that does not read is made to wait', async (t, start) => {
  const opened = Promise.withResolvers<Duplex>();
  const { cluster } = await start(t, (data) => opened.resolve(data));
  const duplex = await cluster.portForward(target);
  duplex.on('error', () => {});
  const chunk = Buffer.alloc(64 * 1024);
  let written = 0;
  // Node's buffers and the kernel's: far below this bound, if anybody waits for anybody.
  while (written < 256 * 1024 * 1024) {
    written += chunk.length;
    if (!duplex.write(chunk)) {
      const drained = await Promise.race([once(duplex, 'drain').then(() => true), quiet(duplex)]);
      if (!drained) break;
    }
  }
  t.true(written < 64 * 1024 * 1024, `${written} bytes were taken`);
  let read = 0;
  const all = Promise.withResolvers<void>();
  (await opened.promise).on('data', (bytes: Buffer) => {
    read += bytes.length;
    if (read === written) all.resolve();
  });
  await all.promise;
  duplex.destroy();
});

/** Resolves with false once nothing has drained for a while: the writer is held. */
async function quiet(duplex: Duplex): Promise<false> {
  const before = duplex.writableLength;
  await new Promise((resolve) => {
    setTimeout(resolve, 300);
  });
  return duplex.writableLength === before ? false : await quiet(duplex);
}

test('a refused port-forward names the right that is missing', async (t) => {
  const message = 'pods "web-1" is forbidden: User "bob" cannot create resource "pods/portforward" in API group "" in the namespace "shop"';
  const api = await startApi(t, (_request, response) => json(response, { kind: 'Status', message }, 403));
  const cluster = await clusterOf(t, { server: api.url });
  const error = await t.throwsAsync(cluster.portForward(target));
  t.is(Reflect.get(error, 'code'), 'API_FORBIDDEN');
  t.regex(String(Reflect.get(error, 'remedy')), /create pods\/portforward in namespace shop/);
  t.regex(error.message, /User "bob" cannot create resource "pods\/portforward"/);
});
