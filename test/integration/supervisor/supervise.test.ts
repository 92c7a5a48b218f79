import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { start, type Running } from '../../../src/kpctl/demo/processes.ts';

const script = fileURLToPath(new URL('../../../bin/supervise.sh', import.meta.url));

/** In the place of Node: says who it is and does what `$PLAY` says; each line of it is one life, the last one is all others. */
const player = `#!/bin/sh
life=$((KPEERING_RESTARTS + 1))
echo "life $KPEERING_RESTARTS pid $$ parent $PPID: $*"
act=$(echo "$PLAY" | sed -n "\${life}p")
eval "\${act:-$(echo "$PLAY" | tail -n 1)}"
`;

/** Waits for signals, and tells of each; two of them end it with 7. */
const drains =
  'heard=0; trap "heard=\\$((heard + 1)); echo heard \\$heard" TERM; echo waits; while [ $heard -lt 1 ]; do sleep 0.05; done; exit 7';

for (const shell of ['dash', 'busybox sh']) {
  const titled = (title: string): string => `${shell}: ${title}`;

  test(titled('a child that is killed is replaced at once, and again; the counter counts'), async (t) => {
    await using world = await supervised(t, shell, 'echo waits; exec sleep 1000');
    for (const restarts of [0, 1, 2]) {
      const line = await world.supervisor.waitForLine(new RegExp(`^life ${restarts} pid`, 'u'));
      process.kill(Number(/pid (\d+)/u.exec(line)?.[1]), 'SIGKILL');
    }
    const line = await world.supervisor.waitForLine(/^life 3 pid/u);
    t.regex(line, /sidecar --drain-seconds 3$/u);
    t.regex(world.supervisor.lines.join('\n'), /"code":137,"restarts":1,"msg":"kpeering has died; it is started again in 0 s"/u);
    t.regex(world.supervisor.lines.join('\n'), /"restarts":2,"msg":"kpeering has died; it is started again in 0\.1 s"/u);
    process.kill(Number(/pid (\d+)/u.exec(line)?.[1]), 'SIGKILL');
    await world.supervisor.waitForLine(/started again in 1 s/u);
  });

  test(titled('SIGTERM and SIGINT are passed on once, and the child is waited for'), async (t) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      await using world = await supervised(t, shell, drains);
      await world.supervisor.waitForLine(/^waits$/u);
      world.supervisor.kill(signal);
      t.is((await world.supervisor.exited).code, 7);
      t.deepEqual(
        world.supervisor.lines.filter((line) => line.startsWith('heard')),
        ['heard 1'],
      );
    }
  });

  test(titled('no start after a clean end, wrong usage, or a program that is not there'), async (t) => {
    for (const code of [0, 2]) {
      await using world = await supervised(t, shell, `exit ${code}`);
      const outcome = await world.supervisor.exited;
      t.deepEqual([outcome.code, world.lives()], [code, 1]);
    }
    await using missing = await supervised(t, shell, '', { KPEERING_NODE: '/nonexistent/node' });
    t.is((await missing.supervisor.exited).code, 127);
  });

  test(titled('SIGTERM in the wait before the next start ends it'), async (t) => {
    await using world = await supervised(t, shell, 'exit 1');
    await world.supervisor.waitForLine(/started again in 5 s/u);
    world.supervisor.kill('SIGTERM');
    t.is((await world.supervisor.exited).code, 0);
    t.is(world.lives(), 6);
  });

  test(titled('anything but a role becomes kpeering'), async (t) => {
    await using world = await supervised(t, shell, 'exit 5', {}, ['version']);
    t.is((await world.supervisor.exited).code, 5);
    t.regex(world.supervisor.lines[0] ?? '', new RegExp(`pid ${world.supervisor.pid} .*: \\S+/kpeering\\.js version$`, 'u'));
  });

  test(titled('as the first process of a PID namespace it reaps orphans'), async (t) => {
    const orphan = '(sleep 0.1 & echo made) ; sleep 0.5; ls /proc | grep -c "^[0-9]"; cat /proc/[0-9]*/stat | grep -c ") Z " ; exit 0';
    const namespaces = [
      'unshare',
      ...(process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']),
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
    ];
    await using world = await supervised(t, shell, orphan, {}, ['sidecar'], namespaces);
    const outcome = await world.supervisor.exited;
    t.is(outcome.code, 0, outcome.stderr);
    t.regex(outcome.stdout, /^life 0 pid \d+ parent 1:/u);
    t.is(world.supervisor.lines.at(-1), '0', outcome.stdout);
  });
}

interface World extends AsyncDisposable {
  readonly supervisor: Running;
  /** How often the child has been started. */
  lives(): number;
}

async function supervised(
  t: ExecutionContext,
  shell: string,
  play: string,
  more: NodeJS.ProcessEnv = {},
  argv: readonly string[] = ['sidecar', '--drain-seconds', '3'],
  prefix: readonly string[] = [],
): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'kp-supervise-'));
  const node = join(directory, 'node');
  await writeFile(node, player);
  await chmod(node, 0o755);
  t.true((await readFile(script, 'utf8')).startsWith('#!/bin/sh\n'));
  const supervisor = start([...prefix, ...shell.split(' '), script, ...argv], {
    PATH: process.env['PATH'],
    KPEERING_NODE: node,
    PLAY: play,
    ...more,
  });
  return {
    supervisor,
    lives: () => supervisor.lines.filter((line) => line.startsWith('life ')).length,
    [Symbol.asyncDispose]: async () => {
      // Its end is the child's, too: by SIGTERM, since SIGKILL would leave the child.
      supervisor.kill('SIGTERM');
      const timer = setTimeout(() => supervisor.kill('SIGKILL'), 5000);
      await supervisor.exited;
      clearTimeout(timer);
      await rm(directory, { recursive: true });
    },
  };
}
