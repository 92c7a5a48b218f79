import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync, mkdtempSync, rmSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { requireProgram } from '../../../src/platform/programs.ts';
import { drive, driverCommand, script, users } from './drive.ts';

/** Starts `words` on a terminal of its own. `exec`: a shell left in between would get Ctrl-C, too, and die of it. */
function onTerminal(words: readonly string[], environment: NodeJS.ProcessEnv): ChildProcessWithoutNullStreams {
  const line = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  const options = { cwd: '/', env: { ...environment, SHELL: '/bin/sh' } };
  return spawn(requireProgram('script', 'bsdutils'), ['-qec', `exec ${line}`, '/dev/null'], options);
}

for (const user of users) {
  test.serial(`${user}: COMMAND's exit code is kpctl's`, async (t) => {
    t.is((await drive({ command: ['sh', '-c', 'exit 7'] }, { user }).ended).code, 7);
    t.is((await drive({ command: ['sh', '-c', 'kill -TERM $$'] }, { user }).ended).code, 143);
  });

  test.serial(
    `${user}: 127 for a command that does not exist, 126 for one that cannot be executed, 125 for a missing folder`,
    async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'kpeering-test-'));
      t.teardown(() => rmSync(folder, { recursive: true }));
      chmodSync(folder, 0o755);
      writeFileSync(join(folder, 'plain'), 'echo plain', { mode: 0o644 });
      writeFileSync(join(folder, 'orphan'), '#!/no/such/interpreter\n', { mode: 0o755 });
      writeFileSync(join(folder, 'bare'), 'echo bare "$0"\n', { mode: 0o755 });
      const cases = [
        { command: ['kpeering-no-such-command'], exitCode: 127, code: 'COMMAND_NOT_FOUND' },
        { command: ['./no-such'], exitCode: 127, code: 'COMMAND_NOT_FOUND' },
        { command: [join(folder, 'plain')], exitCode: 126, code: 'COMMAND_NOT_EXECUTABLE' },
        { command: [folder], exitCode: 126, code: 'COMMAND_NOT_EXECUTABLE' },
        { command: [join(folder, 'orphan')], exitCode: 126, code: 'COMMAND_NOT_EXECUTABLE' },
        { command: ['true'], cwd: '/no/such', exitCode: 125, code: 'DIRECTORY_MISSING' },
      ];
      for (const { exitCode, code, ...scenario } of cases) {
        const driven = drive(scenario, { user });
        t.like((await driven.report('failed')).failure, { code, exitCode });
        t.is((await driven.ended).code, exitCode);
      }
      // A script without a first line is the shell's, and PATH is COMMAND's own.
      const bare = drive({ command: ['bare'], environment: { PATH: `${folder}:/usr/bin:/bin` } }, { user });
      t.is((await bare.ended).code, 0);
      t.regex(bare.stdout(), /^bare /);
    },
  );

  test.serial(`${user}: stdin, stdout and stderr are COMMAND's`, async (t) => {
    const driven = drive({ command: ['sh', '-c', 'cat; echo oops >&2'] }, { user, stdin: 'through\n' });
    t.is((await driven.ended).code, 0);
    t.deepEqual([driven.stdout(), driven.stderr()], ['through\n', 'oops\n']);
  });

  test.serial(`${user}: COMMAND sees its own environment and folder, and no channel of ours`, async (t) => {
    const driven = drive(
      {
        command: ['sh', '-c', 'echo $GREETING; pwd; env | grep -c NODE_CHANNEL; ls /proc/self/fd'],
        environment: { GREETING: 'hi' },
        cwd: '/usr',
      },
      { user },
    );
    await driven.ended;
    t.regex(driven.stdout(), /^hi\n\/usr\n0\n0\n1\n/);
    // `ls` itself has 3 open; 4 was the helper's.
    t.notRegex(driven.stdout(), /^4$/m);
  });

  test.serial(`${user}: capabilities are what they were: root's own, or none`, async (t) => {
    const driven = drive({ command: ['sh', '-c', 'grep -E "Cap(Inh|Prm|Eff|Amb)" /proc/self/status; id -u'] }, { user });
    await driven.ended;
    if (user === 'root') t.regex(driven.stdout(), /CapEff:\s*0*[1-9a-f][0-9a-f]+\n/);
    else t.deepEqual(driven.stdout().match(/\b0{16}\b/g)?.length, 4);
  });

  test.serial(`${user}: a signal for kpctl alone reaches COMMAND, and one for the whole group reaches it once`, async (t) => {
    const command = script(
      `let n = 0; for (const s of ['SIGINT', 'SIGHUP', 'SIGTERM']) process.on(s, () => { console.log(s); if (s === 'SIGTERM') setTimeout(() => process.exit(5), 300); }); console.log('ready'); setTimeout(() => {}, 60000);`,
    );
    const driven = drive({ command }, { user });
    await driven.says('ready');
    process.kill(-(driven.process.pid ?? 0), 'SIGINT');
    await driven.says('SIGINT');
    driven.process.kill('SIGHUP');
    await driven.says('SIGHUP');
    process.kill(-(driven.process.pid ?? 0), 'SIGTERM');
    t.is((await driven.ended).code, 5);
    t.is(driven.stdout(), 'ready\nSIGINT\nSIGHUP\nSIGTERM\n');
  });

  test.serial(`${user}: a shell with job control works on a terminal`, async (t) => {
    const words = driverCommand({ command: ['bash', '--norc', '-i'] }, user);
    const child = onTerminal(words, { PATH: '/usr/bin:/bin', PS1: 'prompt> ', TERM: 'dumb' });
    let all = '';
    let output = '';
    const says = (text: RegExp): Promise<void> =>
      new Promise((resolve) => {
        const check = (): void => {
          if (!text.test(output)) return;
          child.stdout.off('data', check);
          resolve();
        };
        child.stdout.on('data', check);
        check();
      });
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const type = (keys: string, answer: RegExp): Promise<void> => {
      all += output;
      output = '';
      child.stdin.write(keys);
      return says(answer);
    };
    const closed = once(child, 'close');
    await says(/prompt> $/);
    // Ctrl-Z stops the job and not the shell, fg continues it, Ctrl-C ends it. Each step waits for the one before: the
    // terminal throws away what is typed ahead of Ctrl-C.
    await type("sh -c 'echo go; exec cat'\n", /\ngo\r\n$/);
    await type('typed\n', /^typed\r\ntyped\r\n$/);
    await type('\u001a', /Stopped[^]*prompt> $/);
    await type('fg\n', /fg\r\nsh -c .*\r\n$/);
    await type('again\n', /^again\r\nagain\r\n$/);
    await type('\u0003', /\^C[^]*prompt> $/);
    await type('echo after=$?\n', /after=130\r\nprompt> $/);
    child.stdin.write('exit 9\n');
    t.deepEqual(await closed, [9, null]);
    t.notRegex(all + output, /no job control|cannot set terminal/);
  });

  test.serial(`${user}: Ctrl-C on a terminal reaches COMMAND`, async (t) => {
    const words = driverCommand({ command: ['sh', '-c', 'trap "echo caught; exit 4" INT; echo ready; while :; do sleep 0.1; done'] }, user);
    const child = onTerminal(words, process.env);
    let output = '';
    const closed = once(child, 'close');
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (chunk.includes('ready')) child.stdin.write('\u0003');
    });
    t.deepEqual(await closed, [4, null]);
    t.is(output.match(/caught/g)?.length, 1);
  });
}

test.serial('user namespaces that are switched off are said to be', async (t) => {
  // In a user namespace of its own the limit is the test's to set; then without capabilities, as an ordinary user.
  const off = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all -- "$@"';
  const prefix = ['unshare', '--user', '--map-current-user', '--keep-caps', 'sh', '-c', off, 'sh'];
  const become = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
  const driven = drive({ command: ['true'] }, { user: 'current', prefix: [...become, ...prefix] });
  const { failure } = await driven.report('failed');
  t.like(failure, { code: 'USER_NAMESPACES_FORBIDDEN', exitCode: 125 });
  t.regex(failure.text, /max_user_namespaces is 0/);
  t.is((await driven.ended).code, 125);
});
