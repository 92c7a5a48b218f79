import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { SpdyConnection } from '../../../src/cluster/spdy/connection.ts';
import type { SpdyStream } from '../../../src/cluster/spdy/stream.ts';
import { clusterOf, json, startApi } from './api.ts';
import { base64, makeCertificates } from './certificates.ts';

const certificates = makeCertificates();
const target = { namespace: 'shop', pod: 'web-1', port: 8080 };

/** An API server whose port-forwards are handled by `serve`, as the kubelet would. */
async function start(t: ExecutionContext, serve: (data: SpdyStream, errors: SpdyStream, socket: Duplex) => void) {
  const requests: IncomingMessage[] = [];
  const api = await startApi(t, (_request, response) => json(response, {}, 404), { ...certificates.server });
  api.server.on('upgrade', (request, socket, head: Buffer) => {
    requests.push(request);
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n',
    );
    let errors: SpdyStream | undefined;
    const connection = new SpdyConnection(socket, {
      role: 'server',
      head,
      onStream: (stream) => {
        stream.on('error', () => {});
        connection.reply(stream);
        if (stream.headers['streamtype'] === 'error') errors = stream;
        else if (errors !== undefined) serve(stream, errors, socket);
      },
    });
    t.teardown(() => connection.destroy());
  });
  const cluster = await clusterOf(
    t,
    { server: `${api.url}/prefix`, 'certificate-authority-data': base64(certificates.ca) },
    { token: 'x', as: 'bob' },
  );
  return { cluster, requests };
}

test('a port-forward carries bytes both ways, and destroying it closes its connection', async (t) => {
  const closed = Promise.withResolvers<void>();
  const { cluster, requests } = await start(t, (data, errors, socket) => {
    t.deepEqual(data.headers, { streamtype: 'data', port: '8080', requestid: '0' });
    errors.resume();
    data.pipe(data);
    socket.on('close', () => closed.resolve());
  });
  const duplex = await cluster.portForward(target);
  t.is(requests[0]?.method, 'POST');
  t.is(requests[0]?.url, '/prefix/api/v1/namespaces/shop/pods/web-1/portforward');
  t.like(requests[0]?.headers, { upgrade: 'SPDY/3.1', authorization: 'Bearer x', 'impersonate-user': 'bob' });
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

test('what the kubelet says on the error stream becomes the error of the duplex', async (t) => {
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

test('a connection that breaks is an error of the duplex', async (t) => {
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

test('a writer to a pod that does not read is made to wait', async (t) => {
  const opened = Promise.withResolvers<SpdyStream>();
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
