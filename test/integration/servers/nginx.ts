import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, mkdirSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { requireProgram } from '../../../src/platform/programs.ts';
import { textOf } from '../pod/pod.ts';
import { sampleBytes, sha256 } from './bytes.ts';
import type { Place } from '../../harness/place.ts';
import type { ServerCase, Site } from './server-case.ts';

const port = 8080;
const http2Port = 8081;
const bigBytes = 100 * 1024 * 1024;
const big = sampleBytes(bigBytes);
const bigHash = sha256(big);
const page = 'the page\n';

function configuration({ folder }: Place): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/tmp-${name};`);
  return `daemon off;
worker_processes 1;
error_log stderr notice;
pid ${folder}/nginx.pid;
events {}
http {
  access_log off;
  ${temporary.join('\n  ')}
  client_max_body_size 0;
  root ${folder}/www;
  server {
    listen ${port};
    listen [::]:${port};
    location /upload/ { dav_methods PUT; }
  }
  server { listen ${http2Port} http2; }
}
`;
}

async function curl({ caller }: Site, ...parameters: string[]): Promise<string> {
  return caller.run(requireProgram('curl', 'curl'), ['--silent', '--show-error', '--max-time', '100', ...parameters]);
}

/** The SHA-256 of what a URL answers, by curl. */
async function hashOf({ caller, host }: Site, path: string, ...parameters: string[]): Promise<string | undefined> {
  const command = 'url=$1; shift; curl --silent --show-error --fail --max-time 100 "$@" "$url" | sha256sum';
  return (await caller.run('sh', ['-c', command, 'sh', `http://${host}:${port}${path}`, ...parameters])).split(' ')[0];
}

export const nginx: ServerCase = {
  name: 'nginx',
  flows: [port, http2Port].map((number) => ({ protocol: 'tcp', port: number })),
  async start(place) {
    place.write('www/index.html', page);
    place.write('www/big', big);
    mkdirSync(place.path('www/upload'));
    const file = place.write('nginx.conf', configuration(place));
    await place.start('nginx', requireProgram('nginx', 'nginx'), ['-e', 'stderr', '-p', place.folder, '-c', file], 'start worker process ');
  },
  checks: [
    {
      title: 'five requests on one kept connection',
      expected: ['200 1', '200 0', '200 0', '200 0', '200 0'],
      observe: async (site) => {
        const format = ['--output', '/dev/null', '--write-out', String.raw`%{http_code} %{num_connects}\n`];
        const url = `http://${site.host}:${port}/`;
        // One output for each URL.
        const words = Array.from({ length: 5 }, () => ['--output', '/dev/null', url]).flat();
        return (await curl(site, ...format.slice(2), ...words)).trim().split('\n');
      },
    },
    {
      title: '400 requests over HTTP/2 in clear text, ten at once on each of two connections',
      expected: { protocol: 'h2c', requests: '400 total, 400 started, 400 done, 400 succeeded, 0 failed, 0 errored, 0 timeout' },
      observe: async ({ caller, host }) => {
        const flags = ['--requests=400', '--clients=2', '--max-concurrent-streams=10'];
        const text = await caller.run(requireProgram('h2load', 'nghttp2-client'), [...flags, `http://${host}:${http2Port}/index.html`]);
        return { protocol: /^Application protocol: (.*)$/mu.exec(text)?.[1], requests: /^requests: (.*)$/mu.exec(text)?.[1] };
      },
    },
    { title: 'a request over IPv6', expected: page, observe: async (site) => curl(site, `http://[${site.host6}]:${port}/`) },
    { title: 'a body of 100 MiB down', expected: bigHash, observe: async (site) => hashOf(site, '/big') },
    {
      title: 'a body of 100 MiB up',
      expected: { code: '201', hash: bigHash },
      observe: async (site) => {
        const url = `http://${site.host}:${port}/upload/big`;
        const code = await curl(site, '--write-out', '%{http_code}', '--upload-file', site.server.path('www/big'), url);
        const hash = createHash('sha256');
        await pipeline(createReadStream(site.server.path('www/upload/big')), hash);
        return { code, hash: hash.digest('hex') };
      },
    },
    {
      title: 'a client that reads slowly',
      expected: sha256(big.subarray(0, 4 * 1024 * 1024)),
      observe: async (site) => hashOf(site, '/big', '--limit-rate', '4M', '--range', `0-${4 * 1024 * 1024 - 1}`),
    },
    {
      title: 'a client that does not read for a while, and others meanwhile',
      expected: { others: [page, page, page], hash: bigHash },
      observe: async (site) => {
        const slow = await site.caller.connect({ host: site.host, port });
        slow.write(`GET /big HTTP/1.0\r\n\r\n`);
        const others: string[] = [];
        for (let count = 0; count < 3; count += 1) others.push(await curl(site, `http://${site.host}:${port}/`));
        const chunks: Buffer[] = [];
        slow.on('data', (chunk: Buffer) => chunks.push(chunk));
        await once(slow, 'end');
        slow.destroy();
        const answer = Buffer.concat(chunks);
        return { others, hash: sha256(answer.subarray(answer.indexOf('\r\n\r\n') + 4)) };
      },
    },
    {
      title: 'a request that comes byte by byte',
      expected: { status: 'HTTP/1.1 200 OK', body: page },
      observe: async (site) => {
        const socket = await site.caller.connect({ host: site.host, port });
        socket.setNoDelay(true);
        for (const byte of Buffer.from('GET / HTTP/1.0\r\n\r\n')) {
          await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
        }
        const text = await textOf(socket);
        socket.destroy();
        return { status: text.split('\r\n')[0], body: text.split('\r\n\r\n')[1] };
      },
    },
  ],
};
