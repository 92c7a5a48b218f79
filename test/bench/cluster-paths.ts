import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { kpctl, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import type { Running } from '../../src/kpctl/demo/processes.ts';
import { OwnedStack } from '../../src/platform/owned.ts';
import { requireProgram } from '../../src/platform/programs.ts';
import { openClusterStage, type ClusterStage } from '../e2e/cluster-stage.ts';

/**
 * The ways to a server in a pod: `direct` from another pod, by the Service's name; `plain` the same to a pod that is not injected; `kubectl` from the
 * laptop through `kubectl port-forward`; `naive` through a multiplexer of 60 lines over our port-forward, from a listener on the laptop; `run`
 * from the laptop, inside `kpctl run`, by the Service's name; `workload` inside `kpctl run -w`, to the pod's address; `intercept` from another pod by
 * the Service's name, answered by nginx on the laptop.
 */
export const paths = ['direct', 'plain', 'kubectl', 'naive', 'run', 'workload', 'intercept'] as const;
export type Path = (typeof paths)[number];

export interface BenchPath {
  readonly name: Path;
  readonly load: Load;
  readonly target: { readonly host: string; readonly port: number };
}

export interface BenchStage extends AsyncDisposable {
  readonly stage: ClusterStage;
  /** The name of the server's pod. */
  readonly pod: string;
  readonly paths: readonly BenchPath[];
  /** Ends the loads, forwards and intercepts; the pods stay. */
  closePaths(): Promise<void>;
}

const REMOTE_PORT = 8080;
/** In the laptop's network only: nobody else's when the laptop is a network namespace, and unusual enough otherwise. */
const LOCAL_PORT = 28_080;
const loadFolder = join(import.meta.dirname, 'load');

/** A running client.ts. */
export class Load implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  #said = '';

  constructor(argv: readonly string[], environment: NodeJS.ProcessEnv) {
    const [program = '', ...rest] = argv;
    this.#child = spawn(program, rest, { env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
    this.pid = this.#child.pid ?? -1;
    const { stdout, stderr, stdin } = this.#child;
    if (stdout === null || stdin === null || stderr === null) throw new Error('a child without pipes');
    stdin.on('error', () => undefined);
    stderr.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    this.#lines = createInterface({ input: stdout });
  }

  /** Has one order carried out; rejects when the load ends before it answers. */
  async order(order: object): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    const line = await new Promise<string>((resolve, reject) => {
      const closed = (): void => reject(new Error(`the load ended: ${this.#said}`));
      this.#lines.once('close', closed);
      this.#lines.once('line', (text) => {
        this.#lines.off('close', closed);
        resolve(text);
      });
    });
    const answer: unknown = JSON.parse(line);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    clearTimeout(force);
  }
}

/** Makes the pods and opens the paths that are asked for. All of it is gone when it is disposed of. */
export async function openBenchStage(
  wanted: readonly Path[],
  tell: (line: string) => void,
  program?: readonly string[],
): Promise<BenchStage> {
  const stack = new OwnedStack();
  const ofPaths = new OwnedStack();
  try {
    const opened = stack.use(await openClusterStage('bench', [], tell));
    const stage = { ...opened, kpctl: program ?? opened.kpctl };
    await stage.kubectlOut('create', 'configmap', 'bench', `--from-file=${loadFolder}`);
    await stage.kubectlOut('apply', '-f', join(loadFolder, 'cluster.yaml'));
    for (const name of ['bench', 'claimed', 'plain', 'caller'])
      await stage.kubectlOut('rollout', 'status', `deployment/${name}`, '--timeout=90s');
    const pod = await podOf(stage, 'bench');
    const sidecars = await stage.kubectlOut('get', 'pod', pod, '-o', 'jsonpath={.spec.initContainers[*].name}');
    if (!sidecars.includes('kpeering'))
      throw new Error('the pods were not injected: is kpeering installed in the cluster (kpctl install)?');
    const ip = (await stage.kubectlOut('get', 'pod', pod, '-o', 'jsonpath={.status.podIP}')).trim();
    stack.use(ofPaths);
    const ways: BenchPath[] = [];
    for (const name of wanted) ways.push(await openers[name](stage, ofPaths, pod, ip));
    for (const path of ways) tell(`${path.name}: ${await checkAnswerer(path, pod)}`);
    return { stage, pod, paths: ways, closePaths: async () => await ofPaths.close(), [Symbol.asyncDispose]: async () => stack.close() };
  } catch (error) {
    await stack.close();
    throw error;
  }
}

type Opener = (stage: ClusterStage, stack: OwnedStack, pod: string, ip: string) => Promise<BenchPath>;

const openers: Readonly<Record<Path, Opener>> = {
  kubectl: async (stage, stack, pod) => {
    const forward = stack.use(startOnLaptop(stage, ['kubectl', '-n', stage.namespace, 'port-forward', `pod/${pod}`, `:${REMOTE_PORT}`]));
    const line = await forward.waitForLine(/^Forwarding from 127\.0\.0\.1:\d+ /);
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(line)?.[1]);
    const load = stack.use(new Load([...stage.laptopPrefix, process.execPath, join(loadFolder, 'client.ts')], stage.environment));
    return { name: 'kubectl', load, target: { host: '127.0.0.1', port } };
  },
  naive: async (stage, stack, pod) => {
    const far = [
      'kubectl',
      '-n',
      stage.namespace,
      'exec',
      pod,
      '-c',
      'bench',
      '--',
      '/usr/bin/node',
      '/bench/naive-pod.ts',
      '17777',
      '8080',
    ];
    await stack.use(startOnLaptop(stage, far)).waitForLine(/^listens$/);
    const near = [process.execPath, join(import.meta.dirname, 'naive-laptop.ts'), stage.namespace, pod, '17777'];
    const line = await stack.use(startOnLaptop(stage, near)).waitForLine(/^listens \d+$/);
    const load = stack.use(new Load([...stage.laptopPrefix, process.execPath, join(loadFolder, 'client.ts')], stage.environment));
    return { name: 'naive', load, target: { host: '127.0.0.1', port: Number(line.split(' ')[1]) } };
  },
  direct: async (stage, stack) => ({
    name: 'direct',
    load: await loadInCaller(stage, stack),
    target: { host: 'bench', port: REMOTE_PORT },
  }),
  plain: async (stage, stack) => ({ name: 'plain', load: await loadInCaller(stage, stack), target: { host: 'plain', port: REMOTE_PORT } }),
  run: async (stage, stack) => {
    const argv = [...stage.laptopPrefix, ...kpctl(stage, 'run', '--', ...client)];
    return { name: 'run', load: stack.use(new Load(argv, stage.environment)), target: { host: 'bench', port: REMOTE_PORT } };
  },
  workload: async (stage, stack, _pod, ip) => {
    const argv = [...stage.laptopPrefix, ...kpctl(stage, 'run', '-w', 'bench', '--', ...client)];
    return { name: 'workload', load: stack.use(new Load(argv, stage.environment)), target: { host: ip, port: REMOTE_PORT } };
  },
  intercept: async (stage, stack) => {
    await startNginx(stage, stack);
    await stack.use(startIntercept(stage)).waitForLine(/^ready$/);
    return { name: 'intercept', load: await loadInCaller(stage, stack), target: { host: 'claimed', port: REMOTE_PORT } };
  },
};

const client = [process.execPath, join(loadFolder, 'client.ts')];

/** `kpctl intercept` of the pod that is there for it. */
export function startIntercept(stage: ClusterStage): Running {
  return startOnLaptop(stage, kpctl(stage, 'intercept', 'claimed', '--port', `${LOCAL_PORT}:${REMOTE_PORT}`));
}

/** The load in the pod without kpeering. */
export async function loadInCaller(stage: ClusterStage, stack: OwnedStack): Promise<Load> {
  const caller = await podOf(stage, 'caller');
  const exec = ['kubectl', '-n', stage.namespace, 'exec', '-i', caller, '--', '/usr/bin/node', '/bench/client.ts'];
  return stack.use(new Load([...stage.laptopPrefix, ...exec], stage.environment));
}

/** The laptop's server: nginx, as a developer may have it, with an answer that says whose it is. */
export async function startNginx(stage: ClusterStage, stack: OwnedStack): Promise<void> {
  const folder = join(stage.temporary, 'nginx');
  await mkdir(folder, { recursive: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`);
  const configuration = `daemon off;
worker_processes 1;
error_log stderr notice;
pid ${folder}/nginx.pid;
events { worker_connections 8192; }
http {
  access_log off;
  ${temporary.join('\n  ')}
  keepalive_requests 100000000;
  keepalive_timeout 1h;
  server {
    listen 127.0.0.1:${LOCAL_PORT} backlog=4096;
    location /small { default_type text/plain; return 200 "answered by ${hostname().padEnd(40)}\\n"; }
  }
}
`;
  const file = join(folder, 'nginx.conf');
  await writeFile(file, configuration);
  const nginx = startOnLaptop(stage, [requireProgram('nginx', 'nginx-light'), '-e', 'stderr', '-p', folder, '-c', file]);
  // its workers end when their master is told to, and not when it is killed
  stack.use({
    [Symbol.asyncDispose]: async () => {
      nginx.kill('SIGTERM');
      await nginx.exited;
    },
  });
  await nginx.waitForLine(/start worker process /);
}

export async function podOf(stage: ClusterStage, app: string): Promise<string> {
  return (await stage.kubectlOut('get', 'pods', '-l', `app=${app}`, '-o', 'jsonpath={.items[0].metadata.name}')).trim();
}

/** The laptop's server must answer what is intercepted, and the pod's everything else. */
async function checkAnswerer({ name, load, target }: BenchPath, pod: string): Promise<string> {
  const answer = JSON.stringify(await load.order({ kind: 'who', ...target }));
  const who = /answered by (\S+)/.exec(answer)?.[1];
  const expected = name === 'intercept' ? hostname() : name === 'plain' ? 'plain-' : pod;
  if (who?.startsWith(expected) !== true) throw new Error(`${name} was answered by ${who ?? answer}, not by ${expected}`);
  return `answered by ${who}`;
}
