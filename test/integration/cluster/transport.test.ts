import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import test from 'ava';
import { Failure } from '../../../src/platform/errors.ts';
import { SWITCH_TO_SPDY, startPortForwardApi, type Gateway, type Serve } from './port-forward-api.ts';

const target = { namespace: 'shop', pod: 'web-1', port: 8080 };
const status = (code: number, message: string): string => JSON.stringify({ kind: 'Status', apiVersion: 'v1', message, code });

const echo: Serve = (data, errors) => {
  errors.resume();
  data.pipe(data);
};

function answer(socket: Duplex, code: number, body: string): void {
  socket.end(`HTTP/1.1 ${code} X\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

/** Does `refuse` to SPDY, and lets the rest through. */
function refusing(refuse: (socket: Duplex) => void): Gateway {
  return (request, socket) => {
    if (request.headers.upgrade === 'websocket') return false;
    refuse(socket);
    return true;
  };
}

async function echoed(duplex: Duplex): Promise<string> {
  duplex.write('hello');
  const text = await new Promise<string>((resolve) => {
    duplex.once('data', (chunk: Buffer) => resolve(chunk.toString()));
  });
  duplex.destroy();
  return text;
}

const refusals: Readonly<Record<string, (socket: Duplex) => void>> = {
  'a page with 403': (socket) => answer(socket, 403, '<html>blocked</html>'),
  'a page with 404': (socket) => answer(socket, 404, 'no such thing here'),
  '200 without an upgrade': (socket) => answer(socket, 200, 'hello'),
  '502': (socket) => answer(socket, 502, 'Bad Gateway'),
  '400 of the API server, which never saw the upgrade': (socket) => answer(socket, 400, status(400, 'Upgrade request required')),
  'a connection that ends without an answer': (socket) => socket.destroy(),
  'an upgrade to something else': (socket) => socket.write('HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'),
  'a connection that ends right after the upgrade': (socket) => socket.end(SWITCH_TO_SPDY),
  'a page behind the upgrade': (socket) => socket.end(`${SWITCH_TO_SPDY}HTTP/1.1 400 Bad Request\r\n\r\n`),
};

for (const [what, refuse] of Object.entries(refusals)) {
  test(`SPDY is answered by ${what}: the port-forward goes over WebSocket, and the next one does so at once`, async (t) => {
    const { cluster, requests } = await startPortForwardApi(t, echo, { gateway: refusing(refuse) });
    t.is(cluster.transport, undefined);
    t.is(await echoed(await cluster.portForward(target)), 'hello');
    t.is(cluster.transport, 'websocket');
    t.is(await echoed(await cluster.portForward(target)), 'hello');
    t.deepEqual(
      requests.map(({ headers }) => headers.upgrade),
      ['SPDY/3.1', 'websocket', 'websocket'],
    );
  });
}

for (const [code, expected] of [
  [401, 'API_UNAUTHORIZED'],
  [403, 'API_FORBIDDEN'],
  [404, 'NOT_FOUND'],
  [429, 'API_ERROR'],
] as const) {
  test(`${code} of the API server itself is no matter of the transport: nothing else is tried`, async (t) => {
    const gateway = refusing((socket) => answer(socket, code, status(code, 'in the words of the API')));
    const { cluster, requests } = await startPortForwardApi(t, echo, { gateway });
    const error = await t.throwsAsync(cluster.portForward(target), { instanceOf: Failure });
    t.is(error.code, expected);
    t.is(requests.length, 1);
    t.is(cluster.transport, undefined);
  });
}

test('what the pod refuses is no matter of the transport', async (t) => {
  const { cluster, requests } = await startPortForwardApi(t, (data, errors) => {
    errors.end('dial tcp4 127.0.0.1:8080: connect: connection refused');
    data.end();
  });
  const error = await t.throwsAsync(
    async () => {
      const duplex = await cluster.portForward(target);
      duplex.resume();
      await once(duplex, 'close');
    },
    { instanceOf: Failure },
  );
  t.is(error.code, 'PORT_FORWARD_FAILED');
  t.is(requests.length, 1);
});

test('a gateway that lets neither through: both reasons are said', async (t) => {
  const { cluster, requests } = await startPortForwardApi(t, echo, {
    gateway: (request, socket) => {
      answer(socket, request.headers.upgrade === 'websocket' ? 403 : 502, 'no');
      return true;
    },
  });
  const error = await t.throwsAsync(cluster.portForward(target), { instanceOf: Failure });
  t.is(error.code, 'TRANSPORT_REFUSED');
  t.regex(error.message, /shop\/web-1: SPDY: the answer was 502.*; WebSocket: the answer was 403/);
  t.is(requests.length, 2);
});

test('the API server says the same to both: its words are the message', async (t) => {
  const said = status(500, 'error dialing backend: dial tcp 10.0.0.4:10250: connect: connection refused');
  const { cluster } = await startPortForwardApi(t, echo, {
    gateway: (_request, socket) => {
      answer(socket, 500, said);
      return true;
    },
  });
  const error = await t.throwsAsync(cluster.portForward(target), { instanceOf: Failure });
  t.is(error.code, 'API_ERROR');
  t.regex(error.message, /error dialing backend/);
});

for (const verb of ['get', 'create']) {
  test(`WebSocket without the right to ${verb}: the message names that right, and why WebSocket is used`, async (t) => {
    const { cluster } = await startPortForwardApi(t, echo, {
      gateway: (request, socket) => {
        if (request.headers.upgrade === 'websocket') {
          answer(
            socket,
            403,
            status(403, `pods "web-1" is forbidden: User "bob" cannot ${verb} resource "pods/portforward" in API group ""`),
          );
        } else answer(socket, 400, 'no SPDY here');
        return true;
      },
    });
    const error = await t.throwsAsync(cluster.portForward(target), { instanceOf: Failure });
    t.is(error.code, 'API_FORBIDDEN');
    t.regex(error.likely ?? '', /SPDY does not get through .*400.* WebSocket needs/);
    t.is(error.remedy, `ask for the right to ${verb} pods/portforward in namespace shop`);
  });
}

test('one that is forced is used alone', async (t) => {
  const gateway = refusing((socket) => answer(socket, 502, 'no'));
  const spdy = await startPortForwardApi(t, echo, { gateway, transport: 'spdy' });
  const error = await t.throwsAsync(spdy.cluster.portForward(target), { instanceOf: Failure });
  t.is(error.code, 'API_ERROR');
  t.is(spdy.requests.length, 1);
  const webSocket = await startPortForwardApi(t, echo, { transport: 'websocket' });
  t.is(await echoed(await webSocket.cluster.portForward(target)), 'hello');
  t.is(webSocket.requests[0]?.headers.upgrade, 'websocket');
});

test('what has worked and is refused later is forgotten: the next attempt looks again', async (t) => {
  let closed = false;
  const { cluster, requests } = await startPortForwardApi(t, echo, {
    gateway: (request, socket) => {
      if (!closed || request.headers.upgrade === 'websocket') return false;
      answer(socket, 403, '<html>');
      return true;
    },
  });
  t.is(await echoed(await cluster.portForward(target)), 'hello');
  closed = true;
  await t.throwsAsync(cluster.portForward(target), { instanceOf: Failure });
  t.is(await echoed(await cluster.portForward(target)), 'hello');
  t.is(cluster.transport, 'websocket');
  t.is(requests.length, 4);
});
