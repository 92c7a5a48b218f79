import { existsSync, readFileSync, statSync } from 'node:fs';
import test from 'ava';
import type { VolumesToMount } from '../../../src/simulator/network/index.ts';
import { drive, script, users, type Driven } from './drive.ts';
import type { Scenario } from './scenario.ts';

/** A file of a volume. */
function file(path: string, text: string, mode = 0o644): { path: string; mode: number; content: string } {
  return { path, mode, content: Buffer.from(text).toString('base64') };
}

const config = { name: 'config', mode: 0o777, files: [file('app.conf', 'first'), file('deep/er/other.conf', 'other', 0o640)] };
const secret = { name: 'secret', mode: 0o1777, files: [file('password', 's3cret', 0o400)] };
const scratch = { name: 'scratch', mode: 0o777 };

function mount(path: string, volume: string, subPath = '', readOnly = true): VolumesToMount['mounts'][number] {
  return { path, volume, subPath, readOnly };
}

function scenario(command: readonly string[], mounts: readonly VolumesToMount['mounts'][number][], keepVisible: string[] = []): Scenario {
  return { command: [...command], volumes: { volumes: [config, secret, scratch], mounts: [...mounts], keepVisible } };
}

async function finished(driven: Driven): Promise<{ code: number | null; stdout: string; problems: readonly string[] }> {
  const { code } = await driven.ended;
  const mounted = driven.reports.find((report) => report.type === 'mounted');
  return { code, stdout: driven.stdout(), problems: mounted?.problems ?? [] };
}

const shell = (text: string): string[] => ['sh', '-c', text];

for (const user of users) {
  test.serial(
    `${user}: volumes are at paths that this machine does not have, also directly below the root, and for COMMAND only`,
    async (t) => {
      const mounts = [
        mount('/kp-volume', 'config'),
        mount('/opt/kp/deep/volume', 'secret'),
        mount('/var/run/secrets/kp', 'secret'),
        mount('/etc/kp-volume', 'config'),
        mount('/etc/kp.conf', 'config', 'app.conf'),
        mount('/kp-scratch', 'scratch', '', false),
        mount('/kp-scratch/nested', 'config'),
        mount('/kp-volume/nested', 'secret'),
      ];
      const read = [
        'cat /kp-volume/app.conf /kp-volume/deep/er/other.conf /opt/kp/deep/volume/password /var/run/secrets/kp/password /etc/kp-volume/app.conf',
        'cat /etc/kp.conf /kp-scratch/nested/app.conf /kp-volume/nested/password; echo',
        "stat -c '%a %F' -L /kp-volume/deep/er/other.conf /opt/kp/deep/volume/password /kp-scratch /opt/kp/deep/volume",
        'test -O /kp-volume/app.conf && echo mine',
        'echo new > /kp-scratch/file && cat /kp-scratch/file',
        'for f in /kp-volume/new /opt/kp/new /new /etc/new; do echo x 2>/dev/null > $f || echo refused; done',
        'ls /etc/.kpeering-staging',
      ];
      const driven = drive(scenario(shell(read.join('\n').replaceAll('> $f', '> "$f"')), mounts), { user });
      t.deepEqual(
        await finished(driven),
        {
          code: 0,
          problems: [],
          stdout: [
            'firstothers3crets3cretfirstfirstfirsts3cret',
            '640 regular file',
            '400 regular file',
            '777 directory',
            '1777 directory',
            'mine',
            'new',
            ...Array.from({ length: 4 }, () => 'refused'),
            '',
          ].join('\n'),
        },
        driven.stderr(),
      );
      for (const path of ['/kp-volume', '/kp-scratch', '/opt/kp', '/etc/kp-volume', '/etc/kp.conf', '/run/secrets/kp'])
        t.false(existsSync(path), path);
    },
  );

  test.serial(`${user}: what was beside a new mount point is as before, files that others replace too`, async (t) => {
    const names = 'ls / | grep -v kp-; cat /etc/hostname; ls -d /tmp; readlink /bin; cat /proc/self/comm';
    const outside = drive({ command: shell(names) }, { user });
    const inside = drive(scenario(shell(names), [mount('/kp-volume', 'config'), mount('/etc/kp/volume', 'config')]), { user });
    t.is((await finished(inside)).stdout, (await finished(outside)).stdout);
  });

  test.serial(`${user}: COMMAND has no capability, nor can its programs get one from a file`, async (t) => {
    const driven = drive(scenario(shell('grep ^Cap /proc/self/status'), [mount('/kp-volume', 'config')]), { user });
    const { stdout } = await finished(driven);
    if (user === 'root') {
      // Its own, as without kpctl.
      t.is(stdout, (readFileSync('/proc/self/status', 'utf8').match(/^Cap.*\n/gm) ?? []).join(''));
    } else {
      t.is(stdout, ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t${'0'.repeat(16)}\n`).join(''));
    }
  });

  test.serial(`${user}: new files come all at once, by a link that is moved; a subPath keeps what it had`, async (t) => {
    const watching = script(`
      const fs = require('node:fs');
      const read = (path) => fs.readFileSync(path, 'utf8');
      const before = fs.readlinkSync('/kp-volume/..data');
      console.log('ready', fs.readdirSync('/kp-volume').filter((name) => !name.startsWith('..')).join());
      const look = () => {
        const after = fs.readlinkSync('/kp-volume/..data');
        if (after === before) return void setTimeout(look, 5);
        console.log(read('/kp-volume/app.conf'), read('/kp-volume/added'), read('/kp-one.conf'), fs.existsSync('/kp-volume/deep'));
      };
      look();`);
    const driven = drive(scenario(watching, [mount('/kp-volume', 'config'), mount('/kp-one.conf', 'config', 'app.conf')]), { user });
    await driven.says('ready app.conf,deep');
    driven.process.send({ name: 'config', files: [file('app.conf', 'second'), file('added', 'more')] });
    t.is((await finished(driven)).stdout, 'ready app.conf,deep\nsecond more first false\n', driven.stderr());
  });

  test.serial(`${user}: what cannot be mounted is told, and the rest is mounted`, async (t) => {
    const mounts = [
      mount('/usr/bin', 'config'),
      mount('/srv/work', 'config'),
      mount('/etc/passwd', 'config'),
      mount('/etc/hostname/volume', 'config'),
      mount('/kp-volume', 'config'),
    ];
    const driven = drive(scenario(shell('cat /kp-volume/app.conf'), mounts, ['/usr/bin', '/srv/work/project']), { user });
    t.deepEqual(await finished(driven), {
      code: 0,
      stdout: 'first',
      problems: [
        'volume config is not mounted at /usr/bin: it would hide /usr/bin',
        'volume config is not mounted at /srv/work: it would hide /srv/work/project',
        'volume config is not mounted at /etc/passwd: it is a file on this machine',
        'volume config is not mounted at /etc/hostname/volume: /etc/.kpeering/hostname is a file on this machine',
      ],
    });
  });

  test.serial(`${user}: a folder for everybody's files stays one beside a mount point in it`, async (t) => {
    const mode = statSync('/tmp').mode & 0o7777;
    const text = 'cat /tmp/kp-volume/app.conf; echo x > /tmp/kp-made && rm /tmp/kp-made && stat -c " %a" /tmp';
    const driven = drive(scenario(shell(text), [mount('/tmp/kp-volume', 'config')]), { user });
    t.deepEqual(await finished(driven), { code: 0, stdout: `first ${mode.toString(8)}\n`, problems: [] }, driven.stderr());
    t.false(existsSync('/tmp/kp-volume'));
  });
}
