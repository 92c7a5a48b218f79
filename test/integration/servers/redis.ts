import { once } from 'node:events';
import { requireProgram } from '../../../src/platform/programs.ts';
import { LogLines } from '../../harness/log-lines.ts';
import type { ServerCase, Site } from './server-case.ts';

export const redisPort = 6380;

async function cli({ caller, host }: Site, ...words: string[]): Promise<string> {
  return (await caller.run(requireProgram('redis-cli', 'redis-tools'), ['-h', host, '-p', String(redisPort), ...words])).trim();
}

async function benchmark({ caller, host }: Site, ...flags: string[]): Promise<unknown> {
  const parameters = ['-h', host, '-p', String(redisPort), '-t', 'set,get', '--csv', ...flags];
  const { code, stdout } = await caller.attempt(requireProgram('redis-benchmark', 'redis-tools'), parameters);
  const tests = stdout.split('\n').flatMap((line) => /^"(SET|GET)","[\d.]+"/u.exec(line)?.[1] ?? []);
  return { code, tests };
}

export const redis: ServerCase = {
  name: 'Redis',
  flows: [{ protocol: 'tcp', port: redisPort }],
  start: async (place) => {
    const flags = ['--port', String(redisPort), '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', '', '--dir', place.folder];
    await place.start('redis', requireProgram('redis-server', 'redis-server'), flags, 'Ready to accept connections');
  },
  checks: [
    {
      title: 'redis-benchmark on 20 connections',
      expected: { code: 0, tests: ['SET', 'GET'] },
      observe: async (site) => benchmark(site, '-n', '4000', '-c', '20'),
    },
    {
      title: 'redis-benchmark with pipelines of 16',
      expected: { code: 0, tests: ['SET', 'GET'] },
      observe: async (site) => benchmark(site, '-n', '8000', '-c', '8', '-P', '16', '-d', '512'),
    },
    {
      title: 'redis-benchmark with a new connection for each request',
      expected: { code: 0, tests: ['SET', 'GET'] },
      observe: async (site) => benchmark(site, '-n', '500', '-c', '8', '-k', '0'),
    },
    {
      title: 'a subscription that is held open',
      expected: ['1', '1', 'second'],
      observe: async (site) => {
        const parameters = ['-h', site.host, '-p', String(redisPort), 'subscribe', 'news'];
        const subscriber = site.caller.spawn(requireProgram('redis-cli', 'redis-tools'), parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
        const log = new LogLines('redis-cli', subscriber);
        await log.until('subscribe');
        const heard: string[] = [];
        for (const message of ['first', 'second']) {
          heard.push(await cli(site, 'publish', 'news', message));
          await log.until(message);
          // Others use the server meanwhile.
          await cli(site, 'ping');
        }
        heard.push(await log.until('second'));
        subscriber.kill('SIGKILL');
        await once(subscriber, 'exit');
        return heard;
      },
    },
  ],
};
