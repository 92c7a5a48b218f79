import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { run } from '../../src/kpctl/demo/processes.ts';
import { requireProgram } from '../../src/platform/programs.ts';
import { postgresProgram } from '../harness/place.ts';
import { root, type ClusterStage } from './cluster-stage.ts';

/** The user of the PostgreSQL server, and the password. */
export const postgresUser = { user: 'kp', password: 'correct' } as const;

interface PackedFile {
  readonly name: string;
  readonly mode: number;
  readonly content: Buffer;
}

/**
 * Real servers in the cluster, without an image of them: PostgreSQL (Service `db`) and Redis (Service `cache`) of this machine with the libraries
 * that they load, brought into a pod through `kubectl exec`. Ready when it resolves.
 */
export async function startServers(stage: ClusterStage): Promise<void> {
  const folder = join(root, 'test/e2e/servers');
  const programs = ['unpack.ts', 'serve.ts'].map((name) => `--from-file=${join(folder, name)}`);
  await stage.kubectlOut('create', 'configmap', 'servers', ...programs, '--from-literal=package.json={"type":"module"}');
  await stage.kubectlOut('apply', '-f', join(folder, 'servers.yaml'));
  const packed = pack(stage.temporary);
  await stage.kubectlOut('wait', 'pod', '-l', 'app=servers', '--for=jsonpath={.status.phase}=Running', '--timeout=60s');
  const unpack = ['exec', '-i', 'deploy/servers', '-c', 'redis', '--', '/usr/bin/node', '/programs/unpack.ts', '/servers'];
  const [program = '', ...words] = [...stage.laptopPrefix, 'kubectl', '-n', stage.namespace, ...unpack];
  const child = spawn(program, words, { env: stage.environment, stdio: ['pipe', 'ignore', 'pipe'] });
  let problem = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (problem += text));
  await Promise.all([pipeline(framed(await packed), createGzip({ level: 1 }), child.stdin), once(child, 'close')]);
  if (child.exitCode !== 0) throw new Error(`the servers could not be brought into the pod: ${problem}`);
  await stage.kubectlOut('rollout', 'status', 'deploy/servers', '--timeout=60s');
}

async function pack(temporary: string): Promise<PackedFile[]> {
  const postgres = realpathSync(postgresProgram('postgres'));
  const redis = realpathSync(requireProgram('redis-server', 'redis-server'));
  const version = basename(join(postgres, '../..'));
  const libraries = await loadedBy([postgres, redis]);
  const loader = libraries.find((path) => basename(path).startsWith('ld-linux'));
  if (loader === undefined) throw new Error(`${postgres} names no dynamic linker`);
  const data = await database(temporary);
  const start = (path: string): string =>
    // The pod's image has other libraries, or none.
    `import { spawn } from 'node:child_process';
const child = spawn('/servers/lib/${basename(loader)}', ['--library-path', '/servers/lib', '/servers${path}', ...process.argv.slice(2)], { stdio: 'inherit' });
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code) => process.exit(code ?? 1));
`;
  const share = `/usr/share/postgresql/${version}/timezonesets`;
  try {
    return [
      ...libraries.map((path) => file(`lib/${basename(path)}`, path, 0o755)),
      // where PostgreSQL looks for its other files from
      file(`usr/lib/postgresql/${version}/bin/postgres`, postgres, 0o755),
      ...readdirSync(share).map((name) => file(`${share.slice(1)}/${name}`, join(share, name), 0o644)),
      file('usr/bin/redis-server', redis, 0o755),
      ...below(data).map((path) =>
        statSync(path).isDirectory()
          ? { name: `data/${relative(data, path)}/`, mode: 0o700, content: Buffer.alloc(0) }
          : file(`data/${relative(data, path)}`, path, 0o600),
      ),
      { name: `usr/lib/postgresql/${version}/lib/`, mode: 0o755, content: Buffer.alloc(0) },
      { name: 'data/', mode: 0o700, content: Buffer.alloc(0) },
      script('postgres', start(`/usr/lib/postgresql/${version}/bin/postgres`)),
      script('redis', start('/usr/bin/redis-server')),
      { name: 'package.json', mode: 0o644, content: Buffer.from('{"type":"module"}') },
      { name: 'ready', mode: 0o644, content: Buffer.alloc(0) },
    ];
  } finally {
    rmSync(data, { recursive: true });
  }
}

function file(name: string, path: string, mode: number): PackedFile {
  return { name, mode, content: readFileSync(path) };
}

function script(name: string, content: string): PackedFile {
  return { name, mode: 0o755, content: Buffer.from(`#!/usr/bin/node\n${content}`) };
}

/** Shared libraries and the dynamic linker, as ldd(1) finds them. */
async function loadedBy(programs: readonly string[]): Promise<string[]> {
  const { stdout } = await run([requireProgram('ldd', 'libc-bin'), ...programs], { PATH: '/usr/bin:/bin' });
  return [...new Set([...stdout.matchAll(/^\s.*?(\/\S+)/gm)].map(([, path = '']) => path))];
}

/** A new database's files. PostgreSQL refuses root: an ordinary user, whose files root may read. */
async function database(temporary: string): Promise<string> {
  const folder = mkdtempSync(join(temporary, 'postgres-'));
  const secret = join(folder, 'password');
  writeFileSync(secret, postgresUser.password);
  const asUser = ['unshare', '--user', '--map-user=1000', '--map-group=1000', '--'];
  const flags = [
    '--no-sync',
    '--no-instructions',
    '--locale=C',
    '--wal-segsize=1',
    `--username=${postgresUser.user}`,
    `--pwfile=${secret}`,
  ];
  const data = join(folder, 'data');
  const outcome = await run([...asUser, postgresProgram('initdb'), '--pgdata', data, '--auth=scram-sha-256', ...flags], {
    PATH: '/usr/bin:/bin',
    LC_ALL: 'C',
    TZ: 'GMT', // else it would look for the zone in files that the pod does not have
  });
  if (outcome.code !== 0) throw new Error(`initdb: ${outcome.stderr}`);
  writeFileSync(join(data, 'pg_hba.conf'), 'host all all all scram-sha-256\n');
  return data;
}

function below(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name));
}

/** As unpack.ts reads it. */
function* framed(files: readonly PackedFile[]): Generator<Buffer> {
  for (const { name, mode, content } of files) {
    const head = Buffer.from(`${mode.toString(8)} ${name}`);
    yield Buffer.concat([length(head.length), head, length(content.length)]);
    yield content;
  }
}

function length(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
