import test from 'ava';
import { Stage } from './stage.ts';

test.serial('a policy rule that is still being added when another fails is not left behind', async (t) => {
  await using stage = await Stage.create();
  // One fails at once, two others are slow.
  const slow = [
    '#!/bin/sh',
    'case "$*" in',
    '"-6 rule add priority 5101 "*) echo "no memory" >&2; exit 2;;',
    '"-4 rule add "*) sleep 0.5; /run/ip "$@"; touch "/run/added-$5"; exit;;',
    'esac',
    'exec /run/ip "$@"',
    '',
  ].join('\n');
  await stage.laptop.run(
    'sh',
    ['-ec', 'ip=$(readlink -f "$(command -v ip)"); cp "$ip" /run/ip; cat > /run/slow; chmod +x /run/slow; mount --bind /run/slow "$ip"'],
    {
      input: slow,
    },
  );
  const before = await stage.state();
  const front = stage.front();
  t.regex(JSON.stringify((await front.said('report')).message), /no memory/);
  await front.said('exited');
  await stage.laptop.run('sh', ['-c', 'until [ -e /run/added-5100 ] && [ -e /run/added-5101 ]; do sleep 0.05; done']);
  await stage.becomes(before, 1000);
});

test.serial('a machine that has switched IPv6 off for all devices but loopback is joined by IPv4', async (t) => {
  await using stage = await Stage.create();
  await stage.laptop.run('sysctl', ['-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
  const before = await stage.state();
  const { front } = await stage.up();
  front.tell('close');
  await front.said('exited');
  await stage.becomes(before, 1000);
  t.pass();
});
