import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { ExitCode, Failure, messageOf, systemCode } from '../platform/errors.ts';
import { inClusterConfig } from './in-cluster.ts';
import {
  kubeconfigSchema,
  userSchema,
  type ClusterConfig,
  type ContextConfig,
  type ContextSettings,
  type KubeconfigFile,
  type UserConfig,
} from './kubeconfig-schema.ts';

/**
 * Loads kubeconfigs by kubectl's own rules (client-go's clientcmd). `@kubernetes/client-node` has a KubeConfig
 * class, which is not used here: importing it costs about a second (undici, openid-client, the generated
 * API), and it drops or refuses what kubectl takes: `as-groups`, `as-uid`, `as-user-extra`, `tokenFile`,
 * relative token files and exec commands, a file of $KUBECONFIG that does not exist, the same name in two
 * files, `current-context` of the first file, and servers with http://.
 */
export interface KubeconfigOptions {
  /** `--kubeconfig`: this file only. Absent: $KUBECONFIG, else ~/.kube/config, else the pod's service account. */
  readonly kubeconfig?: string;
  /** Absent: the current context. */
  readonly context?: string;
}

interface MergedConfig {
  currentContext: string | undefined;
  readonly clusters: Map<string, ClusterConfig>;
  readonly users: Map<string, UserConfig>;
  readonly contexts: Map<string, ContextConfig>;
}

/**
 * Reads the kubeconfig and picks a context. Throws a Failure: KUBECONFIG_MISSING, KUBECONFIG_INVALID,
 * CONTEXT_UNKNOWN.
 */
export async function loadContext(options: KubeconfigOptions = {}): Promise<ContextSettings> {
  const { files, explicit } = kubeconfigFiles(options.kubeconfig);
  const present = files.filter((file) => existsSync(file));
  const missing = files.find((file) => !existsSync(file));
  if (explicit && missing !== undefined) throw noKubeconfig(`there is no kubeconfig ${missing}`);
  if (present.length === 0) {
    const inCluster = inClusterConfig();
    if (inCluster !== undefined) return inCluster;
    throw noKubeconfig(`there is no kubeconfig: ${files.join(', ')} ${files.length > 1 ? 'do' : 'does'} not exist`);
  }
  const config = merge(await Promise.all(present.map((file) => readKubeconfig(file))));
  return pickContext(config, options.context, present);
}

/** The names of the contexts in the kubeconfig, in its order. Throws a Failure as {@link loadContext}. */
export async function contextNames(kubeconfig?: string): Promise<string[]> {
  const { files } = kubeconfigFiles(kubeconfig);
  return [...merge(await Promise.all(files.filter((file) => existsSync(file)).map((file) => readKubeconfig(file)))).contexts.keys()];
}

function noKubeconfig(what: string): Failure {
  return new Failure('KUBECONFIG_MISSING', what, { remedy: 'name one with --kubeconfig or in $KUBECONFIG' });
}

function kubeconfigFiles(explicit: string | undefined): { files: readonly string[]; explicit: boolean } {
  if (explicit !== undefined && explicit !== '') return { files: [explicit], explicit: true };
  const listed = (process.env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '');
  if (listed.length > 0) return { files: [...new Set(listed)], explicit: false };
  return { files: [join(process.env['HOME'] ?? homedir(), '.kube', 'config')], explicit: false };
}

/** One file, its relative paths made absolute against its own folder. */
async function readKubeconfig(file: string): Promise<KubeconfigFile> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Failure('KUBECONFIG_INVALID', `the kubeconfig ${file} cannot be read: ${systemCode(error) ?? messageOf(error)}`, {
      cause: error,
    });
  }
  let parsed: KubeconfigFile;
  try {
    parsed = kubeconfigSchema.parse(await parseText(text));
  } catch (error) {
    const reason = error instanceof z.ZodError ? issuesOf(error) : messageOf(error).split('\n')[0];
    throw new Failure('KUBECONFIG_INVALID', `the kubeconfig ${file} is not understood: ${reason}`, { cause: error });
  }
  const folder = dirname(file);
  for (const { cluster } of parsed.clusters) {
    if (cluster != null) resolvePaths(cluster, folder, ['certificate-authority']);
  }
  for (const { user } of parsed.users) {
    if (user == null) continue;
    resolvePaths(user, folder, ['client-certificate', 'client-key', 'tokenFile']);
    // A command without a slash is looked up in PATH.
    if (user.exec?.command.includes('/') === true && !isAbsolute(user.exec.command)) user.exec.command = join(folder, user.exec.command);
  }
  return parsed;
}

/** JSON is YAML too, and needs no parser to be loaded. */
async function parseText(text: string): Promise<unknown> {
  if (text.trimStart().startsWith('{')) {
    try {
      return JSON.parse(text);
    } catch {
      // YAML's flow style, then.
    }
  }
  const { parse } = await import('yaml');
  return parse(text);
}

function resolvePaths<K extends string>(entry: Partial<Record<K, string | undefined>>, folder: string, keys: readonly K[]): void {
  for (const key of keys) {
    const path = entry[key];
    if (path !== undefined && !isAbsolute(path)) entry[key] = join(folder, path);
  }
}

/** "The first file to set a particular value or map key wins" (kubernetes.io, Organizing Cluster Access Using kubeconfig Files). */
function merge(files: readonly KubeconfigFile[]): MergedConfig {
  const merged: MergedConfig = { currentContext: undefined, clusters: new Map(), users: new Map(), contexts: new Map() };
  const add = <T>(map: Map<string, T>, name: string, value: T | null | undefined): void => {
    if (value != null && !map.has(name)) map.set(name, value);
  };
  for (const file of files) {
    merged.currentContext ??= file['current-context'];
    for (const { name, cluster } of file.clusters) add(merged.clusters, name, cluster);
    for (const { name, user } of file.users) add(merged.users, name, user);
    for (const { name, context } of file.contexts) add(merged.contexts, name, context);
  }
  return merged;
}

function pickContext(config: MergedConfig, wanted: string | undefined, files: readonly string[]): ContextSettings {
  const names = [...config.contexts.keys()];
  const listed = names.length === 0 ? `${files.join(', ')} has no contexts` : `the contexts are ${names.join(', ')}`;
  const name = wanted ?? config.currentContext;
  if (name === undefined) {
    throw new Failure('CONTEXT_UNKNOWN', 'the kubeconfig has no current context', { likely: listed, remedy: 'name one with --context' });
  }
  const context = config.contexts.get(name);
  if (context === undefined) {
    throw new Failure('CONTEXT_UNKNOWN', `the kubeconfig has no context "${name}"`, {
      likely: listed,
      remedy: 'name one with --context',
      exitCode: wanted === undefined ? ExitCode.failed : ExitCode.usage,
    });
  }
  const cluster = config.clusters.get(context.cluster ?? '');
  if (cluster?.server === undefined) {
    throw new Failure('KUBECONFIG_INVALID', `context "${name}" names the cluster "${context.cluster ?? ''}", which has no server`, {
      remedy: `correct it in ${files.join(', ')}`,
    });
  }
  const user = context.user === undefined ? userSchema.parse({}) : config.users.get(context.user);
  if (user === undefined) {
    throw new Failure('KUBECONFIG_INVALID', `context "${name}" names the user "${context.user ?? ''}", which does not exist`, {
      remedy: `correct it in ${files.join(', ')}`,
    });
  }
  return { context: name, namespace: context.namespace, server: cluster.server, cluster, user, userName: context.user ?? '' };
}

/** The first few complaints of zod, one line: `users.0.user.exec.command: Invalid input: expected string`. */
function issuesOf(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    .join('; ');
}
