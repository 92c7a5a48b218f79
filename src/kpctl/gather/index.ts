import { open, rm } from 'node:fs/promises';
import { release } from 'node:os';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { ExitCode, Failure, messageOf, systemCode } from '../../platform/errors.ts';
import { version } from '../../platform/version.ts';
import { runningInstances } from '../control/client.ts';
import { examine, reportLines, type Finding } from '../doctor/index.ts';
import { findInstallation } from '../doctor/installation.ts';
import { collectCluster } from './collect.ts';
import { Contents } from './contents.ts';
import { REDACTED } from './redact-text.ts';
import { tarOf, type ArchiveFile } from './tar.ts';

export interface GatherOptions extends AbortOptions {
  /** Reads the kubeconfig; each caller closes what it gets. */
  readonly open: () => Promise<Cluster>;
  /** Empty: the context's. */
  readonly namespaces: readonly string[];
  /** Told of what is done now. */
  readonly onStep: (what: string) => void;
}

/** What is to be written, redacted. */
export interface Gathered {
  readonly files: readonly ArchiveFile[];
  /** What could not be had, and why. */
  readonly missing: readonly string[];
}

/**
 * Everything that a bug report needs, as far as it can be had: without a cluster, what this machine knows. Rejects only when `signal` aborts.
 */
export async function gather({ open: openCluster, namespaces, onStep, ...abort }: GatherOptions): Promise<Gathered> {
  const contents = new Contents();
  onStep('looking at everything, as kpctl doctor does');
  const findings = await examine({ open: openCluster, workload: undefined }, abort);
  contents.json('doctor.json', findings);
  contents.text('doctor.txt', `${reportLines(findings, false).join('\n')}\n`);
  contents.json('versions.json', versions(findings));
  contents.json(
    'laptop/status.json',
    (await runningInstances()).map(({ report }) => report),
  );
  onStep('gathering objects and logs');
  await withCluster(openCluster, contents, async (cluster) => {
    // Where the API server does not answer, doctor.txt says so.
    if (findings.some(({ check, verdict }) => check === 'api' && verdict === 'problem')) {
      contents.lacks('everything of the cluster: its API server does not answer');
      return;
    }
    const { namespace: own } = await findInstallation(cluster, abort);
    const wanted = namespaces.length === 0 ? [cluster.namespace] : [...new Set(namespaces)];
    await collectCluster(cluster, { own, namespaces: wanted }, contents, abort);
  });
  abort.signal?.throwIfAborted();
  const { files, missing } = contents;
  return { files: [{ path: 'README.txt', content: readme(files, missing) }, ...files], missing };
}

async function withCluster(
  openCluster: () => Promise<Cluster>,
  contents: Contents,
  work: (cluster: Cluster) => Promise<void>,
): Promise<void> {
  try {
    await using cluster = await openCluster();
    await work(cluster);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    contents.lacks(`everything of the cluster: ${error.message} [${error.code}]`);
  }
}

function versions(findings: readonly Finding[]): object {
  const { node, v8, openssl } = process.versions;
  const told = findings.filter(({ check }) => check === 'versions' || check === 'kubeconfig');
  return { kpctl: version, node, v8, openssl, platform: process.platform, arch: process.arch, kernel: release(), cluster: told };
}

function readme(files: readonly ArchiveFile[], missing: readonly string[]): string {
  return [
    `Gathered by kpctl ${version} at ${new Date().toISOString()} for a bug report about kpeering.`,
    '',
    'Taken out: values of environment variables, command lines and annotations that are not of kpeering, header values, data of ConfigMaps,',
    `and in every text what looks like a password, token, key, cookie or credential in a URL (${REDACTED}). Secrets, and logs of the`,
    'applications, are never asked for. Names and IP addresses of pods, services and users are in it: read it before you give it away.',
    '',
    'In it:',
    ...files.map(({ path, content }) => `  ${path}  ${content.length} bytes`),
    ...(missing.length === 0 ? [] : ['', 'Not in it:', ...missing.map((what) => `  ${what}`)]),
    '',
  ].join('\n');
}

/** Writes the archive, readable by its owner only. Failures: FILE_EXISTS, FILE_NOT_WRITTEN. */
export async function writeArchive(path: string, files: readonly ArchiveFile[]): Promise<number> {
  const top = 'kpeering';
  const tar = tarOf(
    files.map((file) => ({ ...file, path: `${top}/${file.path}` })),
    new Date(),
  );
  const packed = await promisify(gzip)(tar);
  try {
    await using file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(packed);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST') {
      throw new Failure('FILE_EXISTS', `there is a file ${path} already`, {
        remedy: 'name another one: --file FILE',
        exitCode: ExitCode.usage,
      });
    }
    throw new Failure('FILE_NOT_WRITTEN', `${path} cannot be written: ${messageOf(error)}`, {
      remedy: 'name another one: --file FILE',
      cause: error,
    });
  }
  return packed.length;
}
