// HTTP: "client" calls "server", and "server" calls "dependency", each by its name in the cluster.
import { createServer, get } from 'node:http';
import { hostname } from 'node:os';

/** One call on a new connection: resolves with `{ status, body, milliseconds }` or `{ error, milliseconds }`. */
export function call(url) {
  const began = performance.now();
  const took = () => Math.round(performance.now() - began);
  return new Promise((resolve) => {
    get(url, { agent: false, headers: { connection: 'close' } }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text) => (body += text));
      response.on('error', (error) => resolve({ error: error.code ?? error.message, milliseconds: took() }));
      response.on('end', () => resolve({ status: response.statusCode, body: body.trim(), milliseconds: took() }));
    }).on('error', (error) => resolve({ error: error.code ?? error.message, milliseconds: took() }));
  });
}

function serve(name, port, routes) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://here');
    const route = routes[url.pathname];
    if (route === undefined) return response.writeHead(404).end('no such path\n');
    try {
      await route(response, url, request);
    } catch (error) {
      if (!response.headersSent) response.writeHead(500);
      response.end(`${error.message}\n`);
    }
  });
  // a caller that keeps its connections keeps them as long as it likes
  server.keepAliveTimeout = 600_000;
  server.listen(port, () => process.stdout.write(`${name} listens on ${server.address().port}\n`));
  return server;
}

const status = (name) => (response) => response.writeHead(200, { 'content-type': 'text/plain' }).end(`${name} on ${hostname()} is well\n`);

export function serveServer(port) {
  serve('server', port, {
    '/status': status('server'),
    '/dependency/status': async (response) => {
      const answer = await call(process.env.DEPENDENCY_URL ?? 'http://dependency/status');
      if (answer.status === undefined) return response.writeHead(502).end(`dependency: ${answer.error}\n`);
      response.writeHead(answer.status, { 'content-type': 'text/plain' }).end(`server on ${hostname()} asked: ${answer.body}\n`);
    },
    '/echo': (response, url, request) => request.pipe(response.writeHead(200)),
  });
}

export function serveDependency(port) {
  serve('dependency', port, { '/status': status('dependency') });
}

/** Calls made from inside a pod, on behalf of whoever asks. */
export function serveClient(port) {
  serve('client', port, {
    '/status': status('client'),
    '/call': async (response, url) => {
      response.end(`${JSON.stringify(await call(url.searchParams.get('url')))}\n`);
    },
    // a call every `every` ms, `count` times, whether or not earlier ones have ended; one JSON line each as it ends
    '/watch': (response, url) => {
      const target = url.searchParams.get('url');
      const every = Number(url.searchParams.get('every') ?? 100);
      const count = Math.min(Number(url.searchParams.get('count') ?? 100), 10_000);
      let started = 0;
      let ended = 0;
      const timer = setInterval(async () => {
        const number = ++started;
        if (number >= count) clearInterval(timer);
        const at = Date.now();
        const result = await call(target);
        response.write(`${JSON.stringify({ number, at, ...result })}\n`);
        if (++ended === count) response.end();
      }, every);
      response.on('close', () => clearInterval(timer));
    },
  });
}

/** Prints `STATUS BODY`; exits 1 unless the status is 200. */
export async function getCommand(url) {
  const response = await new Promise((resolve, reject) => get(url, { agent: false }, resolve).on('error', reject)).catch((error) => {
    process.stdout.write(`${error.code ?? error.message}\n`);
    process.exit(1);
  });
  if (response.statusCode !== 200) process.exitCode = 1;
  process.stdout.write(`${response.statusCode} `);
  for await (const chunk of response) process.stdout.write(chunk);
}
