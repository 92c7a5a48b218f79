import { createHash } from 'node:crypto';
import { requireProgram } from '../../../src/platform/programs.ts';
import { postgresProgram } from '../../harness/place.ts';
import type { ServerCase, Site } from './server-case.ts';

const port = 5433;
const password = 'correct';

/** No file of whoever runs the tests: psql looks for them in the home folder. */
const noFiles = Object.fromEntries(
  ['PGSSLCERT', 'PGSSLKEY', 'PGSSLROOTCERT', 'PGSSLCRL', 'PGPASSFILE'].map((name) => [name, '/nonexistent']),
);

async function psql({ caller, host }: Site, sslmode: string, sql: string, secret = password) {
  const parameters = ['--no-psqlrc', '--tuples-only', '--no-align', '-c', sql];
  const connection = `host=${host} port=${port} user=kp dbname=postgres sslmode=${sslmode} connect_timeout=60`;
  const environment = { ...noFiles, PGPASSWORD: secret, LC_ALL: 'C' };
  const outcome = await caller.attempt(requireProgram('psql', 'postgresql-client'), [connection, ...parameters], { environment });
  return { code: outcome.code, stdout: outcome.stdout.trim(), stderr: outcome.stderr.trim() };
}

const whetherTls = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
const rows = 200_000;

export const postgresql: ServerCase = {
  name: 'PostgreSQL',
  flows: [{ protocol: 'tcp', port }],
  async start(place) {
    const secret = place.write('password', password);
    const data = place.path('postgres');
    const login = ['--username=kp', `--pwfile=${secret}`, '--auth=scram-sha-256'];
    await place.run(postgresProgram('initdb'), ['--pgdata', data, '--no-sync', '--no-instructions', '--locale=C', ...login]);
    const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', `${data}/server.key`, '-out', `${data}/server.crt`];
    await place.run(requireProgram('openssl', 'openssl'), ['req', '-x509', '-days', '2', '-subj', '/CN=db', ...key]);
    place.write('postgres/pg_hba.conf', 'host all all all scram-sha-256\n');
    const settings = ['listen_addresses=*', `port=${port}`, 'unix_socket_directories=', 'fsync=off', 'ssl=on'];
    const flags = settings.flatMap((setting) => ['-c', setting]);
    await place.start('postgres', postgresProgram('postgres'), ['-D', data, ...flags], 'ready to accept connections');
  },
  checks: [
    ...(
      [
        ['disable', 'f'],
        ['prefer', 't'],
        ['require', 't'],
      ] as const
    ).map(([sslmode, tls]) => ({
      title: `a query with sslmode=${sslmode}`,
      expected: { code: 0, stdout: tls, stderr: '' },
      observe: async (site: Site) => psql(site, sslmode, whetherTls),
    })),
    {
      title: 'a wrong password is refused by the server',
      expected: [2, true],
      observe: async (site) => {
        const { code, stderr } = await psql(site, 'require', 'select 1', 'wrong');
        return [code, stderr.includes('password authentication failed for user "kp"')];
      },
    },
    {
      title: 'a result of many rows',
      expected: createHash('md5')
        .update(Array.from({ length: rows }, (_, index) => String(index + 1)).join('\n'))
        .digest('hex'),
      observe: async (site) => {
        const { stdout } = await psql(site, 'disable', `select * from generate_series(1, ${rows})`);
        return createHash('md5').update(stdout).digest('hex');
      },
    },
  ],
};
