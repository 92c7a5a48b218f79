import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireProgram } from '../../src/platform/programs.ts';
import type { Namespace } from '../harness/namespaces.ts';
import { Place } from '../harness/place.ts';
import { Pod, podAddress, redirect } from '../integration/pod/pod.ts';

export const httpPort = 8080;
export const bulkPort = 5201;
/** haproxy's own for the two. */
const proxyPorts = { [httpPort]: 16_080, [bulkPort]: 16_201 } as const;

/** What is between the load and the servers of a pod. */
export type Between = 'none' | 'sidecar' | 'haproxy';

/**
 * A pod with nginx, iperf3 and a sidecar; its rules are put in and taken out between measurements, so that what is compared has the same
 * server processes. With `haproxy` also that, redirected by the same kind of rule and dialling the app as the sidecar does.
 */
export class CaptureStage implements AsyncDisposable {
  readonly #pod: Pod;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #folder: string;

  private constructor(pod: Pod, environment: Readonly<Record<string, string>>, folder: string) {
    this.#pod = pod;
    this.#environment = environment;
    this.#folder = folder;
  }

  static async open(environment: Readonly<Record<string, string>>, withHaproxy: boolean): Promise<CaptureStage> {
    const pod = await Pod.start([], { KPEERING_LOG: 'info', ...environment });
    const stage = new CaptureStage(pod, environment, mkdtempSync(join(tmpdir(), 'kpeering-bench-')));
    try {
      const place = new Place(pod.namespace, stage.#folder);
      await startNginx(place);
      const iperf3 = requireProgram('iperf3', 'iperf3');
      await place.start('iperf3', iperf3, ['-s', '-p', String(bulkPort), '--forceflush'], 'Server listening');
      if (withHaproxy) await startHaproxy(place);
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  /** Where the load is made. */
  get caller(): Namespace {
    return this.#pod.node;
  }

  /** Takes out the rules that are there, and puts in those for `between`. */
  async put(between: Between): Promise<void> {
    const { namespace } = this.#pod;
    await namespace.run('sh', [redirect, 'clean'], { environment: this.#environment });
    const nft = requireProgram('nft', 'nftables');
    await namespace.run(nft, ['-f', '-'], { input: 'table ip bench {\n}\ndelete table ip bench\n' });
    if (between === 'sidecar') await namespace.run('sh', [redirect], { environment: this.#environment });
    if (between === 'haproxy') await namespace.run(nft, ['-f', '-'], { input: haproxyRules() });
  }

  /** Seconds of CPU that a process of the stage has used so far (Documentation/scheduler/sched-stats.rst: nanoseconds). */
  cpuSeconds(): { readonly sidecar: number; readonly haproxy: number } {
    const sidecar = leafOf(this.#pod.sidecar.process.pid);
    return { sidecar: cpuOf(sidecar), haproxy: programsOf('haproxy', this.#folder).reduce((sum, pid) => sum + cpuOf(pid), 0) };
  }

  /** The sidecar's memory in MiB (proc_pid_smaps(5)). */
  memory(): { readonly privateDirty: number; readonly resident: number } {
    const text = readFileSync(`/proc/${leafOf(this.#pod.sidecar.process.pid)}/smaps_rollup`, 'latin1');
    const field = (name: string): number => Number(new RegExp(`^${name}: +(\\d+) kB`, 'mu').exec(text)?.[1]) / 1024;
    return { privateDirty: field('Private_Dirty'), resident: field('Rss') };
  }

  async close(): Promise<void> {
    await this.#pod.close();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function startNginx(place: Place): Promise<void> {
  place.write('www/index.html', 'the page\n');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${place.folder}/tmp-${name};`);
  const file = place.write(
    'nginx.conf',
    `daemon off;
worker_processes 1;
error_log stderr notice;
pid ${place.folder}/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  ${temporary.join('\n  ')}
  root ${place.folder}/www;
  server { listen ${httpPort} backlog=4096; }
}
`,
  );
  await place.start('nginx', requireProgram('nginx', 'nginx'), ['-e', 'stderr', '-p', place.folder, '-c', file], 'start worker process ');
}

async function startHaproxy(place: Place): Promise<void> {
  const listeners = Object.entries(proxyPorts).map(
    ([port, own]) => `listen port${port}\n  bind :${own}\n  server app ${podAddress}:${port} source 127.0.0.6\n`,
  );
  const file = place.write(
    'haproxy.cfg',
    `global
  maxconn 4096
  log stderr format raw local0 notice
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
${listeners.join('')}`,
  );
  // With a master, which says when its worker listens.
  await place.start('haproxy', requireProgram('haproxy', 'haproxy'), ['-W', '-db', '-f', file], 'Loading success');
}

function haproxyRules(): string {
  const redirects = Object.entries(proxyPorts).map(([port, own]) => `tcp dport ${port} redirect to :${own}`);
  const chain = ['type nat hook prerouting priority dstnat; policy accept;', 'iifname "lo" return', ...redirects];
  return `table ip bench {\nchain inbound {\n${chain.join('\n')}\n}\n}\n`;
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

/** The program itself: nsenter and what else stands before it wait for their one child. */
function leafOf(pid: number | undefined): number {
  if (pid === undefined) throw new Error('the sidecar does not run');
  const [child] = childrenOf(pid);
  return child === undefined ? pid : leafOf(child);
}

/** The processes of a program that were started with a file of this folder. */
function programsOf(name: string, folder: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/u.test(entry))
    .map(Number)
    .filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
        return words[0]?.endsWith(name) === true && words.some((word) => word.startsWith(folder));
      } catch {
        return false; // it has ended meanwhile
      }
    });
}

function cpuOf(pid: number): number {
  const folder = `/proc/${pid}/task`;
  let nanoseconds = 0;
  for (const thread of readdirSync(folder)) nanoseconds += Number(readFileSync(join(folder, thread, 'schedstat'), 'latin1').split(' ')[0]);
  return nanoseconds / 1e9;
}
