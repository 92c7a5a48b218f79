import { setTimeout as delay } from 'node:timers/promises';
import { run, type Outcome } from '../../src/kpctl/demo/processes.ts';

/** The cluster that `$KUBECONFIG` names, as the laptop's programs see it: `$KPEERING_E2E_LAPTOP` is put before them. */
export interface ClusterAccess {
  readonly laptopPrefix: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
}

/** The tag of the images under test. */
export const imageTag = process.env['KPEERING_E2E_TAG'] ?? 'dev';

/** The images under test are loaded into the nodes: nothing is to be pulled. */
export const underTest = [
  '--image',
  `kpeering/kpeering:${imageTag}`,
  '--init-image',
  `kpeering/init:${imageTag}`,
  '--pull-policy',
  'IfNotPresent',
] as const;

export function clusterAccess(environment: NodeJS.ProcessEnv = process.env): ClusterAccess {
  return { laptopPrefix: (process.env['KPEERING_E2E_LAPTOP'] ?? '').split(' ').filter((word) => word !== ''), environment };
}

export async function onCluster({ laptopPrefix, environment }: ClusterAccess, ...argv: readonly string[]): Promise<Outcome> {
  return await run([...laptopPrefix, ...argv], environment);
}

/** Answers stdout of what must succeed. */
export async function succeedOnCluster(access: ClusterAccess, ...argv: readonly string[]): Promise<string> {
  const outcome = await onCluster(access, ...argv);
  if (outcome.code !== 0) throw new Error(`${argv.join(' ')}: ${outcome.stderr}${outcome.stdout}`);
  return outcome.stdout;
}

/** Kinds whose objects come and go by themselves. */
const fleeting = /^(events|leases|endpointslices|endpoints|pods|replicasets|controllerrevisions)(\.|$)|metrics/;

/**
 * Every object of every kind that the API server lists, as `Kind namespace/name`, but for those that controllers make and replace by themselves; of these, what has
 * to do with kpeering.
 */
export async function clusterObjects(access: ClusterAccess): Promise<readonly string[]> {
  const listable = await succeedOnCluster(access, 'kubectl', 'api-resources', '--verbs=list', '-o', 'name');
  const kinds = listable.trim().split('\n');
  const steady = kinds.filter((kind) => !fleeting.test(kind));
  const others = kinds.filter((kind) => fleeting.test(kind) && !kind.startsWith('events'));
  const ofFleeting = (await objectsOf(access, others)).filter((line) => line.includes('kpeering'));
  return [...(await objectsOf(access, steady)), ...ofFleeting].toSorted();
}

async function objectsOf(access: ClusterAccess, kinds: readonly string[]): Promise<string[]> {
  const columns = 'custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name';
  const table = await succeedOnCluster(access, 'kubectl', 'get', kinds.join(','), '-A', '--no-headers', '-o', columns);
  return table
    .trim()
    .split('\n')
    .map((line) => line.replaceAll(/ +/g, ' ').replace(' <none> ', ' '));
}

/** The tests' namespaces go in the background. */
const SETTLED_MILLISECONDS = 90_000;

/** Objects that came or went since `before`, `+` or `-` first; empty: all is as it was. What is about to go is given time. */
export async function differencesSince(access: ClusterAccess, before: readonly string[]): Promise<readonly string[]> {
  for (const end = performance.now() + SETTLED_MILLISECONDS; ;) {
    const left = differences(before, await clusterObjects(access));
    if (left.length === 0 || performance.now() > end) return left;
    await delay(1_000);
  }
}

function differences(before: readonly string[], after: readonly string[]): string[] {
  const [was, is] = [new Set(before), new Set(after)];
  return [
    ...after.filter((line) => !was.has(line)).map((line) => `+ ${line}`),
    ...before.filter((line) => !is.has(line)).map((line) => `- ${line}`),
  ];
}

/** Whether kpeering is there, whoever has installed it. */
export async function isInstalled(access: ClusterAccess): Promise<boolean> {
  const found = await succeedOnCluster(
    access,
    'kubectl',
    'get',
    'mutatingwebhookconfigurations',
    'kpeering',
    '--ignore-not-found',
    '-o',
    'name',
  );
  return found.trim() !== '';
}
