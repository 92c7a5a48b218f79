import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { z } from 'zod';
import { World } from '../../harness/namespaces.ts';

test('routes of every table and family are read with their devices, and a change is told', async (t) => {
  await using world = await World.create();
  const laptop = world.root;
  const ip = async (...words: string[]): Promise<string> => await laptop.run('ip', words);
  await ip('link', 'add', 'lan0', 'type', 'veth', 'peer', 'name', 'lan1');
  await ip('link', 'add', 'br0', 'type', 'bridge');
  for (const device of ['lan0', 'lan1', 'br0']) await ip('link', 'set', device, 'up');
  await ip('address', 'add', '192.0.2.2/24', 'dev', 'lan0');
  await ip('address', 'add', 'fd00:2::2/64', 'dev', 'lan0', 'nodad');
  await ip('route', 'add', 'default', 'via', '192.0.2.1');
  await ip('route', 'add', '10.0.0.0/8', 'via', '192.0.2.9', 'dev', 'lan0', 'table', '51820');
  await ip('route', 'add', '10.7.0.0/16', 'nexthop', 'via', '192.0.2.8', 'dev', 'lan0', 'nexthop', 'via', '192.0.2.7', 'dev', 'lan0');
  await ip('route', 'add', 'unreachable', '172.16.0.0/12');

  const printer = laptop.spawn(process.execPath, [fileURLToPath(new URL('print-routes.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (printer.stdout === null || printer.stdin === null) throw new Error('no pipes');
  const lines = createInterface({ input: printer.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string[]> => z.array(z.string()).parse(JSON.parse(String((await lines.next()).value)));
  const first = await next();
  for (const expected of [
    '0.0.0.0/0 via 192.0.2.1 dev lan0 veth',
    '192.0.2.0/24 dev lan0 veth',
    'local 192.0.2.2/32 dev lan0 veth',
    '10.0.0.0/8 via 192.0.2.9 dev lan0 table 51820 veth',
    '10.7.0.0/16 via 192.0.2.8 dev lan0 veth',
    'refused 172.16.0.0/12 -',
    'fd00:2::/64 dev lan0 veth',
  ]) {
    t.true(first.includes(expected), `${expected}\n${first.join('\n')}`);
  }
  await ip('route', 'add', '10.96.0.0/12', 'dev', 'br0', 'table', '52');
  let seen = await next();
  while (!seen.includes('10.96.0.0/12 dev br0 table 52 bridge')) seen = await next();
  await ip('link', 'del', 'br0');
  while (seen.some((line) => line.includes('br0'))) seen = await next();
  printer.stdin.end();
  await once(printer, 'exit');
  t.is(printer.exitCode, 0);
});
