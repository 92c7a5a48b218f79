import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, type Outcome } from '../../src/kpctl/demo/processes.ts';
import type { Stage } from '../../src/kpctl/demo/stage.ts';
import { imageTag } from './installation.ts';
import { laptopState, type LaptopState } from './laptop-state.ts';

/** Pods of traffic/peer.ts. */
export const trafficManifest = 'test/e2e/traffic/peer.yaml';

/** Pods of each capture mode, and a caller. */
export const captureManifest = 'test/e2e/capture.yaml';

/** Workloads of each kind without kpeering, and a caller. */
export const injectManifest = 'test/e2e/inject.yaml';

/** Pods that are injected by their labels alone, or are not to be; and a caller. */
export const trapsManifest = 'test/e2e/traps.yaml';

/** A queue and workers that pull from it, and what cannot be replaced. */
export const replaceManifest = 'test/e2e/replace.yaml';

/** A workload of each kind, some of several pods; and a caller. */
export const followManifest = 'test/e2e/follow.yaml';

/** Applications whose surroundings break: replicas go, the API server stops. */
export const robustnessManifest = 'test/e2e/robustness.yaml';

/** Those whose pods run the programs of test/e2e/traffic. */
const withTraffic: ReadonlySet<string> = new Set([
  trafficManifest,
  captureManifest,
  injectManifest,
  replaceManifest,
  followManifest,
  robustnessManifest,
]);

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** A stage on which files of the checkout can be named as the laptop's programs see them. */
export interface LaptopStage extends Stage {
  readonly node: string;
  inCheckout(path: string): string;
}

/**
 * A namespace of its own on the cluster that `$KUBECONFIG` names, with the example applications and the gateway. The laptop is this
 * machine, or what `$KPEERING_E2E_LAPTOP` puts before a command (`ip netns exec laptop`). The images must be loaded (scripts/images).
 */
export interface ClusterStage extends LaptopStage, AsyncDisposable {
  /** kubectl with the stage's kubeconfig and namespace, on the laptop. */
  kubectl(...argv: string[]): Promise<Outcome>;
  /** kubectl that must succeed: answers its stdout. */
  kubectlOut(...argv: string[]): Promise<string>;
  /** The same stage whose laptop's programs run as an ordinary user (uid 65534) with nothing of root's. */
  asOrdinaryUser(): LaptopStage;
  /** A folder that is removed at the end; HOME and XDG_RUNTIME_DIR of the laptop's programs. */
  readonly temporary: string;
  /** The laptop as it was before the stage was opened. */
  readonly before: LaptopState;
}

/** Makes the namespace (with these labels), applies `manifests` (paths from the root of the checkout) and waits until all is ready. */
export async function openClusterStage(
  name: string,
  manifests: readonly string[],
  tell: (line: string) => void,
  labels: Readonly<Record<string, string>> = {},
): Promise<ClusterStage> {
  const kubeconfig = process.env['KUBECONFIG'];
  if (kubeconfig === undefined) throw new Error('the end-to-end tests need $KUBECONFIG');
  if (process.getuid?.() !== 0) throw new Error('the end-to-end tests need root: they play an ordinary user, too');
  const namespace = `kp-e2e-${name}-${randomBytes(3).toString('hex')}`;
  const temporary = await mkdtemp(join(tmpdir(), 'kp-e2e-'));
  const laptopPrefix = (process.env['KPEERING_E2E_LAPTOP'] ?? '').split(' ').filter((word) => word !== '');
  const scratch = join(temporary, 'tmp');
  await mkdir(scratch);
  const environment = {
    PATH: process.env['PATH'],
    HOME: temporary,
    KUBECONFIG: kubeconfig,
    XDG_RUNTIME_DIR: temporary,
    TMPDIR: scratch,
    TERM: 'dumb',
    // by which the laptop's programs are known
    KPEERING_E2E_STAGE: namespace,
  };
  const node = process.execPath;
  const inCheckout = (path: string): string => join(root, path);
  const kubectl = async (...argv: string[]): Promise<Outcome> =>
    await run([...laptopPrefix, 'kubectl', '-n', namespace, ...argv], environment);
  const kubectlOut = async (...argv: string[]): Promise<string> => {
    const outcome = await kubectl(...argv);
    if (outcome.code !== 0) throw new Error(`kubectl ${argv.join(' ')}: ${outcome.stderr}`);
    return outcome.stdout;
  };
  const stage: ClusterStage = {
    namespace,
    laptopPrefix,
    environment,
    temporary,
    kpctl: [node, inCheckout('bin/kpctl.js')],
    example: [node, inCheckout('deploy/examples/apps/main.js')],
    node,
    inCheckout,
    before: await laptopState({ laptopPrefix, environment }),
    tell,
    kubectl,
    kubectlOut,
    asOrdinaryUser: () => ordinaryUserStage(stage),
    [Symbol.asyncDispose]: async () => {
      await kubectl('delete', 'namespace', namespace, '--wait=false', '--ignore-not-found');
      await rm(temporary, { recursive: true, force: true });
    },
  };
  try {
    await kubectlOut('create', 'namespace', namespace);
    const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    if (pairs.length > 0) await kubectlOut('label', 'namespace', namespace, ...pairs);
    if (manifests.some((manifest) => withTraffic.has(manifest))) {
      const programs = ['peer.ts', 'load.ts', 'queue.ts'].map((name) => `--from-file=${join(root, 'test/e2e/traffic', name)}`);
      await kubectlOut('create', 'configmap', 'traffic', ...programs, '--from-literal=package.json={"type":"module"}');
    }
    for (const manifest of manifests) await kubectlOut('apply', '-f', await withImagesUnderTest(manifest, temporary));
    const deployments = (await kubectlOut('get', 'deployments', '-o', 'name')).split('\n').filter((line) => line !== '');
    for (const deployment of deployments) await kubectlOut('rollout', 'status', deployment, '--timeout=90s');
    return stage;
  } catch (error) {
    tell((await kubectl('get', 'pods', '-o', 'wide')).stdout);
    tell((await kubectl('get', 'events', '--field-selector', 'type=Warning')).stdout);
    await stage[Symbol.asyncDispose]();
    throw error;
  }
}

/** The manifest's path; where the images under test have another tag than its own, that of a copy with theirs. */
async function withImagesUnderTest(manifest: string, folder: string): Promise<string> {
  const path = join(root, manifest);
  if (imageTag === 'dev') return path;
  const copy = join(folder, manifest.replaceAll('/', '-'));
  await writeFile(copy, (await readFile(path, 'utf8')).replaceAll(/(kpeering\/[a-z]+):dev\b/g, `$1:${imageTag}`));
  return copy;
}

/**
 * The checkout, the kubeconfig and the home are shown to that user under /mnt, in a mount namespace that ends with the program: where
 * they really are, an ordinary user may not be allowed to look.
 */
function ordinaryUserStage(stage: ClusterStage): LaptopStage {
  const script = [
    'set -e',
    'mount -t tmpfs tmpfs /mnt',
    'mkdir -m 700 /mnt/checkout /mnt/home /mnt/run /mnt/tmp',
    'mount --bind "$1" /mnt/checkout',
    'cp "$KUBECONFIG" /mnt/kubeconfig',
    'chmod 755 /mnt',
    'chown 65534:65534 /mnt/home /mnt/run /mnt/tmp /mnt/kubeconfig',
    'shift',
    'export HOME=/mnt/home XDG_RUNTIME_DIR=/mnt/run TMPDIR=/mnt/tmp KUBECONFIG=/mnt/kubeconfig',
    'cd /mnt/home',
    'exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "$@"',
  ].join('\n');
  const inCheckout = (path: string): string => join('/mnt/checkout', path);
  const node = inCheckout(process.execPath.slice(root.length));
  return {
    ...stage,
    laptopPrefix: [...stage.laptopPrefix, 'unshare', '--mount', 'sh', '-c', script, 'sh', root],
    kpctl: [node, inCheckout('bin/kpctl.js')],
    example: [node, inCheckout('deploy/examples/apps/main.js')],
    node,
    inCheckout,
  };
}
