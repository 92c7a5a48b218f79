import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { FlowSnapshot } from '../../../../../src/kpctl/flows/flow-table.ts';
import type { ProxyServer } from '../../../../../src/kpctl/run/proxy/proxy-server.ts';
import { authorization, dial, endingOf, httpServer, proxyStage, readUntil, tcpServer } from './stage.ts';

const names = { 'web.shop.svc.cluster.local': '10.96.0.1' };

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
  readonly trailers: NodeJS.Dict<string>;
}

/** A request in absolute form by Node's client, as a program with HTTP_PROXY makes it. */
async function get(
  proxy: ProxyServer,
  url: string,
  options: { agent?: Agent; method?: string; body?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { agent, method = 'GET', body, headers = {} } = options;
  const sent = request({
    host: '127.0.0.1',
    port: proxy.port,
    path: url,
    method,
    headers: { host: new URL(url).host, 'proxy-authorization': authorization(proxy).replace(/^.*?: |\r\n/g, ''), ...headers },
    ...(agent !== undefined && { agent }),
  });
  sent.end(body);
  const response = await new Promise<IncomingMessage>((resolve, reject) => sent.on('response', resolve).on('error', reject));
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode ?? 0, headers: response.headers, body: text, trailers: response.trailers };
}

async function connectTo(t: ExecutionContext, proxy: ProxyServer, authority: string) {
  const socket = await dial(t, proxy);
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization(proxy)}\r\n`);
  return { socket, head: await readUntil(socket, '\r\n\r\n') };
}

test('a plain request reaches a Service by its short name, as the program wrote it but for what is of one hop only', async (t) => {
  const seen: string[][] = [];
  const server = await httpServer(t, (incoming, response) => {
    seen.push([incoming.url ?? '', ...incoming.rawHeaders]);
    response.writeHead(201, { 'X-Answer': 'yes', Connection: 'keep-alive' }).end('hello');
  });
  const { proxy, asked } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  const socket = await dial(t, proxy);
  socket.write(
    `GET http://web/a%2Fb?x=%20y HTTP/1.1\r\nHost: wrong\r\n${authorization(proxy)}X-One: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nProxy-Connection: keep-alive\r\nx-two: 2\r\n\r\n`,
  );
  t.regex(await readUntil(socket, 'hello'), /^HTTP\/1\.1 201 Created\r\n(?:.*\r\n)*X-Answer: yes\r\n/);
  t.deepEqual(seen, [['/a%2Fb?x=%20y', 'Host', 'web', 'X-One', '1', 'x-two', '2', 'Connection', 'keep-alive']]);
  t.deepEqual(asked, ['10.96.0.1:80']);
});

test('connections are kept open on both sides, and each of a program has its own to the server', async (t) => {
  const server = await httpServer(t, (_, response) => response.end('ok'));
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  for (let count = 0; count < 3; count += 1) t.is((await get(proxy, 'http://web/', { agent })).body, 'ok');
  t.is(server.counts.connections, 1);
  await get(proxy, 'http://web/');
  t.is(server.counts.connections, 2);
});

test('a connection that the server closes while it is idle costs no request', async (t) => {
  let requests = 0;
  const server = await httpServer(t, (_, response) => {
    requests += 1;
    response.end('ok');
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  for (let count = 0; count < 5; count += 1) {
    t.like(await get(proxy, 'http://web/', { agent }), { status: 200, body: 'ok' });
    server.server.closeAllConnections();
  }
  t.is(requests, 5);
});

test('bodies go both ways whole, with a length or in chunks, and so do trailers', async (t) => {
  const server = await httpServer(t, (incoming, response) => {
    response.writeHead(200, { Trailer: 'X-Sum' });
    incoming.on('data', (chunk: Buffer) => response.write(chunk));
    incoming.on('end', () => {
      response.addTrailers({ 'X-Sum': incoming.headers['transfer-encoding'] ?? `length ${incoming.headers['content-length']}` });
      response.end();
    });
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  const body = randomBytes(700_000).toString('hex');
  const whole = await get(proxy, 'http://web/', { method: 'POST', body, headers: { 'content-length': String(body.length) } });
  t.true(whole.body === body);
  t.is(whole.trailers['x-sum'], `length ${body.length}`);
  const chunked = await get(proxy, 'http://web/', { method: 'PUT', body, headers: { 'transfer-encoding': 'chunked' } });
  t.true(chunked.body === body);
  t.is(chunked.trailers['x-sum'], 'chunked');
  t.is((await get(proxy, 'http://web/', { method: 'POST' })).trailers['x-sum'], 'length 0');
});

test('Expect: 100-continue is answered by the server, and not by the proxy', async (t) => {
  const server = await httpServer(t, (incoming, response) => void incoming.resume().on('end', () => response.end('took it')));
  server.server.on('checkContinue', (incoming, response) => {
    if (incoming.url === '/no') response.writeHead(417).end();
    else {
      response.writeContinue();
      server.server.emit('request', incoming, response);
    }
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  for (const [path, first] of [
    ['/yes', 'HTTP/1.1 100 Continue'],
    ['/no', 'HTTP/1.1 417 '],
  ] as const) {
    const socket = await dial(t, proxy);
    socket.write(
      `POST http://web${path} HTTP/1.1\r\nHost: web\r\n${authorization(proxy)}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n`,
    );
    t.true((await readUntil(socket, '\r\n\r\n')).startsWith(first));
    if (path === '/yes') {
      socket.write('body');
      t.regex(await readUntil(socket, 'took it'), /^HTTP\/1\.1 200 OK/);
    }
  }
});

test('an answer that breaks off is a reset, not an end', async (t) => {
  const port = await tcpServer(t, (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf');
      setTimeout(() => socket.resetAndDestroy(), 50);
    });
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': port } });
  const socket = await dial(t, proxy);
  socket.write(`GET http://web/ HTTP/1.1\r\nHost: web\r\n${authorization(proxy)}\r\n`);
  await readUntil(socket, 'half');
  t.is(await endingOf(socket), 'ECONNRESET');
});

test('CONNECT carries bytes and half-closes, through the tunnel and to addresses of the laptop', async (t) => {
  const port = await tcpServer(t, (socket) => {
    let all = '';
    socket.on('data', (chunk: Buffer) => (all += chunk.toString()));
    // It answers only after the half-close.
    socket.on('end', () => socket.end(`heard ${all}`));
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:5432': port } });
  for (const authority of ['web:5432', `127.0.0.1:${port}`, `localhost:${port}`]) {
    const { socket, head } = await connectTo(t, proxy, authority);
    t.regex(head, /^HTTP\/1\.1 200 /);
    socket.end('question');
    t.is(await readUntil(socket, /heard .*/), 'heard question', authority);
  }
});

test('a reset of the far end is a reset for the program, and the other way round', async (t) => {
  const ended: Promise<string>[] = [];
  const port = await tcpServer(t, (socket) => {
    ended.push(endingOf(socket));
    socket.once('data', (chunk: Buffer) => chunk.toString() === 'reset' && socket.resetAndDestroy());
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': port } });
  const first = await connectTo(t, proxy, 'web:80');
  first.socket.write('reset');
  t.is(await endingOf(first.socket), 'ECONNRESET');
  const second = await connectTo(t, proxy, 'web:80');
  second.socket.write('stay');
  while (ended.length < 2) await delay(5);
  second.socket.resetAndDestroy();
  t.is(await ended[1], 'ECONNRESET');
});

test('a program that does not read holds the sender up, and gets all of it in the end', async (t) => {
  const size = 64 * 1024 * 1024;
  let written = 0;
  const port = await tcpServer(t, (socket) => {
    const chunk = Buffer.alloc(64 * 1024, 1);
    const fill = (): void => {
      while (written < size) {
        written += chunk.length;
        if (!socket.write(chunk)) return;
      }
      socket.end();
    };
    socket.on('drain', fill);
    fill();
  });
  const server = await httpServer(t, (_, response) => {
    response.write(Buffer.alloc(size));
    response.end();
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': port, '10.96.0.1:81': server.port } });
  const { socket } = await connectTo(t, proxy, 'web:80');
  const settled = async (): Promise<number> => {
    for (let before = -1; before !== written; await delay(200)) before = written;
    return written;
  };
  t.true((await settled()) < size / 2, `${written} bytes were taken from the server`);
  let received = 0;
  socket.on('data', (chunk: Buffer) => (received += chunk.length)).resume();
  await once(socket, 'end');
  t.is(received, size);
  t.is((await get(proxy, 'http://web:81/')).body.length, size);
});

test('an upgrade goes through, with what each side says at once', async (t) => {
  const server = await httpServer(t, (_, response) => response.writeHead(426).end('no'));
  server.server.on('upgrade', (incoming, socket, head) => {
    socket.on('error', () => undefined);
    if (incoming.url === '/no') return void socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${incoming.headers.upgrade}\r\n\r\nfirst;`);
    if (head.length > 0) socket.unshift(head);
    socket.on('data', (chunk: Buffer) => socket.write(`echo ${chunk.toString()};`)).on('end', () => socket.end('last;'));
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  const upgrade = (path: string): string =>
    `GET http://web${path} HTTP/1.1\r\nHost: web\r\n${authorization(proxy)}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  const socket = await dial(t, proxy);
  socket.write(`${upgrade('/')}early`);
  const all = await readUntil(socket, 'echo early;');
  t.regex(all, /^HTTP\/1\.1 101 Switching Protocols\r\n(?:.*\r\n)*Upgrade: websocket\r\n\r\nfirst;echo early;$/);
  socket.end();
  t.is(await readUntil(socket, 'last;'), 'last;');
  const refused = await dial(t, proxy);
  refused.write(upgrade('/no'));
  t.regex(await readUntil(refused, /no$/), /^HTTP\/1\.1 403 Forbidden\r\n[^]*\r\n\r\nno$/);
});

test('a destination that is not reached is told by its class: 502, or 504 where there was no answer', async (t) => {
  const { proxy, warnings } = await proxyStage(t, {
    names: { ...names, 'unsure.shop.svc.cluster.local': '10.0.0.0' },
    lookup: async (name) => {
      throw Object.assign(new Error(name), { code: 'ENOTFOUND' });
    },
  });
  for (const [authority, status, type] of [
    ['web:80', 502, 'connection_refused'],
    ['10.0.0.7:9', 504, 'connection_timeout'],
    ['127.0.0.1:1', 502, 'connection_refused'],
    ['no.such.name:80', 502, 'dns_error'],
    ['unsure:80', 504, 'dns_timeout'],
  ] as const) {
    const plain = await get(proxy, `http://${authority}/`);
    t.deepEqual([plain.status, plain.headers['proxy-status']], [status, `kpctl; error=${type}`], authority);
    t.regex(plain.body, /^kpctl: /);
    const { head } = await connectTo(t, proxy, authority);
    t.true(head.startsWith(`HTTP/1.1 ${status} `), authority);
  }
  t.true(
    warnings.some((line) => line.startsWith('web (10.96.0.1:80) through the cluster: refused: ')),
    warnings.join('\n'),
  );
});

test('who does not know the password is answered 407, and nothing is dialled', async (t) => {
  const server = await httpServer(t, (_, response) => response.end('ok'));
  const { proxy, asked } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  const wrong = `Proxy-Authorization: Basic ${Buffer.from('kpctl:wrong').toString('base64')}\r\n`;
  for (const header of ['', wrong, 'Proxy-Authorization: Bearer x\r\n']) {
    for (const line of [
      'GET http://web/ HTTP/1.1\r\nHost: web',
      'CONNECT web:80 HTTP/1.1\r\nHost: web:80',
      'GET http://web/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket',
    ]) {
      const socket = await dial(t, proxy);
      socket.write(`${line}\r\n${header}\r\n`);
      t.regex(await readUntil(socket, '\r\n\r\n'), /^HTTP\/1\.1 407 [^]*Proxy-Authenticate: Basic/, line);
    }
  }
  t.deepEqual([asked, server.counts.connections], [[], 0]);
});

test('what is no request for a proxy says what is wrong', async (t) => {
  const { proxy } = await proxyStage(t);
  for (const [line, status] of [
    ['GET / HTTP/1.1', 400],
    ['GET https://web/ HTTP/1.1', 400],
    ['GET ftp://web/ HTTP/1.1', 501],
    ['GET http://:99999/ HTTP/1.1', 400],
    ['CONNECT web HTTP/1.1', 400],
    ['CONNECT web:0 HTTP/1.1', 400],
    ['nonsense', 400],
  ] as const) {
    const socket = await dial(t, proxy);
    socket.write(`${line}\r\nHost: x\r\n${authorization(proxy)}\r\n`);
    t.true((await readUntil(socket, '\r\n\r\n')).startsWith(`HTTP/1.1 ${status} `), line);
  }
});

test("the laptop's own proxy carries what is outside of the cluster, by name, and NO_PROXY holds for it", async (t) => {
  const seen: string[] = [];
  const own = await httpServer(t, (incoming, response) => {
    seen.push(`${incoming.method} ${incoming.url} ${incoming.headers['proxy-authorization']}`);
    response.end('by the own proxy');
  });
  own.server.on('connect', (incoming, socket) => {
    seen.push(`CONNECT ${incoming.url}`);
    socket.on('error', () => undefined).end('HTTP/1.1 200 OK\r\n\r\nbanner');
  });
  const server = await httpServer(t, (_, response) => response.end('direct'));
  const url = `http://me:pw@127.0.0.1:${own.port}`;
  const { proxy } = await proxyStage(t, {
    names,
    cluster: { '10.96.0.1:80': server.port },
    lookup: async () => ['127.0.0.1'],
    environment: { HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: 'intranet.example,.cluster.local' },
  });
  t.is((await get(proxy, 'http://outside.example/x')).body, 'by the own proxy');
  t.is((await get(proxy, `http://intranet.example:${server.port}/`)).body, 'direct');
  t.is((await get(proxy, 'http://web/')).body, 'direct');
  const { socket, head } = await connectTo(t, proxy, 'outside.example:443');
  t.regex(head + (await readUntil(socket, 'banner')), /^HTTP\/1\.1 200 [^]*banner$/);
  t.deepEqual(seen, ['GET http://outside.example/x Basic bWU6cHc=', 'CONNECT outside.example:443']);
});

test('closing it resets what is open, and leaves no connection in the tunnel', async (t) => {
  const port = await tcpServer(t, () => undefined);
  const { proxy, session } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': port } });
  const { socket } = await connectTo(t, proxy, 'web:80');
  const waiting = await dial(t, proxy);
  waiting.write(`GET http://web/ HTTP/1.1\r\nHost: web\r\n${authorization(proxy)}\r\n`);
  while (session.activeStreams < 2) await delay(5);
  const ends = [endingOf(socket), endingOf(waiting)];
  await proxy.close();
  await proxy.close();
  t.deepEqual(await Promise.all(ends), ['ECONNRESET', 'ECONNRESET']);
  while (session.activeStreams > 0) await delay(5);
  t.is(session.activeStreams, 0);
});

test('an answer that HTTP does not know is a 502, a hint that is none is left out, and the proxy lives on', async (t) => {
  const port = await tcpServer(t, (socket) => {
    socket.once('data', (chunk: Buffer) => {
      if (chunk.toString().startsWith('GET /status')) socket.end('HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n');
      else socket.end('HTTP/1.1 103 Early Hints\r\nLink: nothing like a link\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': port } });
  t.is((await get(proxy, 'http://web/status')).status, 502);
  t.like(await get(proxy, 'http://web/hint'), { status: 200, body: 'ok' });
});

test('the length of a body stays with it, also where Connection names it', async (t) => {
  const seen: string[] = [];
  const server = await httpServer(t, (incoming, response) => {
    let body = '';
    incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
    incoming.on('end', () => {
      seen.push(`${incoming.method} ${incoming.url} ${body}`);
      response.end('ok');
    });
  });
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  const inner = 'GET /inner HTTP/1.1\r\nHost: web\r\n\r\n';
  for (const [field, body] of [
    [`Content-Length: ${inner.length}`, inner],
    ['Transfer-Encoding: chunked', `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`],
  ]) {
    const socket = await dial(t, proxy);
    const named = field?.split(':')[0];
    socket.write(`POST http://web/outer HTTP/1.1\r\nHost: web\r\n${authorization(proxy)}Connection: ${named}\r\n${field}\r\n\r\n${body}`);
    t.regex(await readUntil(socket, 'ok'), /^HTTP\/1\.1 200 /, named);
  }
  t.deepEqual(seen, [`POST /outer ${inner}`, `POST /outer ${inner}`]);
});

test('requests that do not wait for each other reach their own servers', async (t) => {
  const one = await httpServer(t, (incoming, response) => response.end(`one ${incoming.url};`));
  const other = await httpServer(t, (incoming, response) => response.end(`other ${incoming.url};`));
  const { proxy } = await proxyStage(t, {
    names: { ...names, 'api.shop.svc.cluster.local': '10.96.0.2' },
    cluster: { '10.96.0.1:80': one.port, '10.96.0.2:80': other.port },
  });
  const socket = await dial(t, proxy);
  const hosts = ['web', 'api', 'web', 'api', 'web', 'web'];
  const requests = hosts
    .map((host, index) => `GET http://${host}/${index} HTTP/1.1\r\nHost: ${host}\r\n${authorization(proxy)}\r\n`)
    .join('');
  for (let round = 0; round < 3; round += 1) {
    socket.write(requests);
    const text = await readUntil(socket, /\/5;/);
    t.deepEqual(
      text.match(/(?:one|other) \/\d;/g),
      hosts.map((host, index) => `${host === 'web' ? 'one' : 'other'} /${index};`),
    );
  }
});

test('an answer may come before the body that was announced', async (t) => {
  const server = await httpServer(t, (_, response) => response.writeHead(413, { connection: 'close' }).end('too large'));
  const { proxy } = await proxyStage(t, { names, cluster: { '10.96.0.1:80': server.port } });
  const socket = await dial(t, proxy);
  socket.write(`POST http://web/ HTTP/1.1\r\nHost: web\r\n${authorization(proxy)}Content-Length: 1000\r\n\r\n`);
  t.regex(await readUntil(socket, 'too large'), /^HTTP\/1\.1 413 /);
});

test('flows of plain requests and of CONNECT count the payload, and nothing that was said to the proxy', async (t) => {
  const server = await httpServer(t, (_, response) => response.end('x'.repeat(1000)));
  const port = await tcpServer(t, (socket) => socket.on('data', (chunk: Buffer) => chunk.includes('!') && socket.end('answer')));
  const reset = await tcpServer(t, (socket) => socket.on('data', () => socket.resetAndDestroy()));
  const { proxy, flows } = await proxyStage(t, {
    names,
    cluster: { '10.96.0.1:80': server.port, '10.96.0.1:81': port, '10.96.0.1:82': reset },
  });
  const ended: FlowSnapshot[] = [];
  flows.watch((flow) => flow.state === 'ended' && ended.push(flow.snapshot()));
  await get(proxy, 'http://web/', { agent: new Agent() });
  while (ended.length < 1) await delay(5);
  t.true((ended[0]?.received ?? 0) > 1000 && (ended[0]?.sent ?? 0) > 20, JSON.stringify(ended[0]));
  const socket = await dial(t, proxy);
  socket.write(`CONNECT web:81 HTTP/1.1\r\n${authorization(proxy)}\r\nearly`);
  await readUntil(socket, '\r\n\r\n');
  socket.end(' late!');
  await readUntil(socket, 'answer');
  while (ended.length < 2) await delay(5);
  t.like(ended[1], { sent: 11, received: 6, why: undefined });
  const third = await connectTo(t, proxy, 'web:82');
  third.socket.write('x');
  while (ended.length < 3) await delay(5);
  t.is(ended[2]?.why, 'reset by the far end');
});
