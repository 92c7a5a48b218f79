/**
 * A queue, and a worker that pulls from it:
 *
 *   queue.ts serve PORT            GET /pull?by=NAME answers a job's number, /next the number of the next one, /pulled?from=N&count=M who has pulled the jobs
 *                                  from N on, as soon as M have been
 *   queue.ts work URL NAME         pulls for ever, a few jobs a second
 */
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const [, , command, first = '', name = ''] = process.argv;

if (command === 'serve') serve(Number(first));
else await work(first, name);

function serve(port: number): void {
  const pulledBy: string[] = [];
  const waiting = new Set<() => void>();
  createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://queue');
    if (pathname === '/pull') {
      pulledBy.push(searchParams.get('by') ?? '');
      response.end(String(pulledBy.length - 1));
      for (const look of waiting) look();
    } else if (pathname === '/next') {
      response.end(String(pulledBy.length));
    } else {
      const from = Number(searchParams.get('from'));
      const count = Number(searchParams.get('count'));
      const look = (): void => {
        if (pulledBy.length < from + count) return;
        waiting.delete(look);
        response.end(pulledBy.slice(from, from + count).join('\n'));
      };
      waiting.add(look);
      response.on('close', () => waiting.delete(look));
      look();
    }
  }).listen(port, '::');
}

async function work(url: string, by: string): Promise<void> {
  for (;;) {
    try {
      const job = await (await fetch(`${url}/pull?by=${encodeURIComponent(by)}`)).text();
      process.stdout.write(`job ${job}\n`);
    } catch (error) {
      process.stdout.write(`no job: ${String(error)}\n`);
    }
    await delay(200);
  }
}
