import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { z } from 'zod';

const world = fileURLToPath(new URL('world.ts', import.meta.url));

const outcomeSchema = z.object({
  afterKill: z.array(z.string()),
  afterPlay: z.array(z.string()),
  code: z.int().nullable(),
  lines: z.array(z.string()),
});

/** Runs world.ts on a machine of its own; SIGKILL of `unshare` ends all of it. */
async function onAMachineOfItsOwn(): Promise<z.infer<typeof outcomeSchema>> {
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const script = [
    'set -e',
    'mount -t tmpfs tmpfs /run',
    // what any machine has that was used before: mount(8)'s own folder, and the runtime directory of an earlier kpctl
    'mkdir -m 700 /run/mount /run/user /run/user/kpctl',
    'ip link set lo up',
    'export XDG_RUNTIME_DIR=/run/user',
    '"$@" & wait $!',
  ].join('\n');
  const child = spawn(
    'unshare',
    [...user, '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c', script, 'sh', process.execPath, world],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  await once(child, 'close');
  try {
    return outcomeSchema.parse(JSON.parse(stdout));
  } catch {
    throw new Error(`the machine of its own did not come to its end: ${stdout}\n${stderr}`);
  }
}

test('the demo plays its stories and leaves the machine as it was, also when an earlier one was killed in the middle', async (t) => {
  t.timeout(240_000);
  const { afterKill, afterPlay, code, lines } = await onAMachineOfItsOwn();
  t.deepEqual(afterKill, [], 'after SIGKILL in the middle');
  t.is(code, 0, lines.join('\n'));
  t.deepEqual(afterPlay, [], 'after a whole demo');
  t.true(lines.some((line) => line.includes('nothing is left')));
});
