import { once } from 'node:events';
import { requireProgram } from '../../../src/platform/programs.ts';
import { sha256 } from './bytes.ts';
import type { ServerCase, Site } from './server-case.ts';

const port = 3307;

async function query({ caller, host }: Site, sql: string): Promise<string> {
  const address = ['-h', host, '-P', String(port), '--protocol=tcp'];
  const parameters = ['--no-defaults', ...address, '-u', 'kp', '-pcorrect', '--skip-column-names', '--batch', '-e', sql];
  return (await caller.run(requireProgram('mariadb', 'mariadb-client-core'), parameters)).trim();
}

export const mariadb: ServerCase = {
  name: 'MariaDB',
  flows: [{ protocol: 'tcp', port }],
  async start(place) {
    const data = place.path('mariadb');
    const install = ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'];
    const small = ['--innodb-log-file-size=4M', '--innodb-flush-log-at-trx-commit=0', '--innodb-buffer-pool-size=16M'];
    await place.run(requireProgram('mariadb-install-db', 'mariadb-server-core'), [...install, ...small]);
    const users = place.write('users.sql', "CREATE USER kp@'%' IDENTIFIED BY 'correct';\n");
    const files = [`--datadir=${data}`, `--socket=${place.path('mariadb.sock')}`, `--pid-file=${place.path('mariadb.pid')}`];
    // Name resolution: the server asks DNS for each caller's name otherwise, and here is none.
    const network = [`--port=${port}`, '--bind-address=0.0.0.0', '--skip-name-resolve', `--init-file=${users}`];
    const program = requireProgram('mariadbd', 'mariadb-server-core');
    await place.start('mariadb', program, ['--no-defaults', ...files, ...network, ...small], 'ready for connections');
  },
  checks: [
    {
      title: 'the server speaks first: its greeting comes to a client that says nothing',
      // A packet's header has 4 bytes, the first one after it is the version of the protocol.
      expected: 10,
      observe: async (site) => {
        const socket = await site.caller.connect({ host: site.host, port });
        const data: unknown[] = await once(socket, 'data');
        const [greeting] = data;
        socket.destroy();
        return greeting instanceof Buffer ? greeting[4] : greeting;
      },
    },
    { title: 'a query', expected: '42\tkp', observe: async (site) => query(site, "select 6 * 7, substring_index(user(), '@', 1)") },
    {
      title: 'a result of 4 MiB',
      expected: sha256('x'.repeat(4 * 1024 * 1024)),
      observe: async (site) => sha256(await query(site, "select repeat('x', 4 * 1024 * 1024)")),
    },
  ],
};
