import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { z } from 'zod';
import type { Rules as RulesDocument } from '../../../src/interceptor/rules-file.ts';
import { kpeeringGid } from '../../../src/platform/ports.ts';
import { findProgram } from '../../../src/platform/programs.ts';
import type { Namespace, Outcome } from '../../harness/namespaces.ts';
import { Pod, redirect } from './pod.ts';
import type { PeerAnswer, PeerEnd, PeerRequest } from './rules-peer.ts';

/** The stage of the tests of redirect.sh: a pod, what its image has, and who serves and calls in it and outside. */
export type Environment = Readonly<Record<string, string>>;

export const isRoot = process.getuid?.() === 0;
export const pod4 = '10.77.0.2';
export const pod6 = 'fd77::2';
export const node4 = '10.77.0.1';
export const node6 = 'fd77::1';
export const families = [
  { family: 'IPv4', pod: pod4, node: node4, loopback: '127.0.0.1' },
  { family: 'IPv6', pod: pod6, node: node6, loopback: '::1' },
] as const;
/** By which the sidecar is known in the tests of an ordinary user, in whose namespaces there is no second group. */
export const sidecarMark = 0x77;
/** The options by which the rules know a sidecar that this test can play. */
export const knownSidecar: Environment = isRoot ? {} : { KPEERING_EXEMPT_MARK: String(sidecarMark) };

/** Every option that both modes have. */
export const everything: Environment = {
  ...knownSidecar,
  KPEERING_INBOUND_PORTS: '80,8000-8080',
  KPEERING_OUTBOUND_PORTS: '*',
  KPEERING_DNS: '1',
  KPEERING_PROBE_ALIASES: '15400:80',
};
/** And those of tproxy mode. */
export const inTproxy: Environment = {
  ...everything,
  KPEERING_MODE: 'tproxy',
  KPEERING_INBOUND_UDP_PORTS: '53',
  KPEERING_KEEP_SOURCE: '1',
};

/** What the script finds in `PATH`: as an image with these programs would have it. */
const shells = ['sh', 'dash', 'busybox'];
const basics = ['grep', 'sed', 'awk', 'cut', 'tr', 'sort', 'cat', 'mv', 'rm'];
const iptables = (family: string): string[] =>
  ['iptables', 'ip6tables'].flatMap((name) => ['', '-save', '-restore'].map((ending) => `${name}${family}${ending}`));
export const images = {
  'iptables on nft': [...iptables('-nft'), 'nft', 'ip'],
  'iptables on nft without the program nft': iptables('-nft'),
  'iptables-legacy': iptables('-legacy'),
  'plain iptables': iptables(''),
  'nft only': ['nft', 'ip'],
  'all of them': [...iptables('-nft'), ...iptables('-legacy'), ...iptables(''), 'nft', 'ip'],
} as const;
export type ImageName = keyof typeof images;

/** The ways in which rules come into the kernel. */
export const backends = [
  { name: 'tproxy', image: 'nft only', mode: 'tproxy' },
  { name: 'redirect by nft', image: 'nft only', mode: 'redirect' },
  { name: 'redirect by iptables-nft', image: 'iptables on nft', mode: 'redirect' },
  { name: 'redirect by iptables-legacy', image: 'iptables-legacy', mode: 'redirect' },
] as const;
export type Backend = (typeof backends)[number];

/** A folder with links to these programs only. */
export function image(t: ExecutionContext, programs: readonly string[], busybox = false): string {
  const folder = mkdtempSync(join(tmpdir(), 'kpeering-image-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o755);
  for (const name of [...shells, ...basics, ...programs]) {
    const path = findProgram(busybox && basics.includes(name) ? 'busybox' : name);
    if (path === undefined) throw new Error(`the tests need ${name}`);
    // Names matter to busybox and xtables, so the link's name stays.
    symlinkSync(path, join(folder, name));
  }
  return folder;
}

const rulesDocument: z.ZodType<RulesDocument> = z.strictObject({
  version: z.literal(1),
  mode: z.enum(['redirect', 'tproxy']),
  reason: z.string().min(1),
  backend: z.string().min(1),
  tcp: z.record(z.string(), z.int()),
  udp: z.record(z.string(), z.int()),
  except: z.array(z.string()),
  outbound: z.array(z.string()),
  exceptOutbound: z.array(z.string()),
  networks: z.array(z.string()),
  exceptNetworks: z.array(z.string()),
  dns: z.boolean(),
  keepSource: z.boolean(),
  families: z.array(z.enum(['ipv4', 'ipv6'])),
  aliases: z.record(z.string(), z.int()),
});

/** redirect.sh in a pod of both families, with the programs of one image. */
export class Rules implements AsyncDisposable {
  readonly pod: Pod;
  /** Where the rules file goes. */
  readonly file: string;
  readonly #image: string;
  readonly #shell: readonly string[];
  readonly #peers: Peer[] = [];

  private constructor(pod: Pod, folder: string, shell: readonly string[], file: string) {
    this.pod = pod;
    this.#image = folder;
    this.#shell = shell;
    this.file = file;
  }

  static async in(t: ExecutionContext, programs: readonly string[], shell: readonly string[] = ['sh']): Promise<Rules> {
    const folder = image(t, programs, shell[0] === 'busybox');
    const files = mkdtempSync(join(tmpdir(), 'kpeering-rules-'));
    t.teardown(() => rmSync(files, { recursive: true }));
    const pod = await Pod.bare();
    const rules = new Rules(pod, folder, shell, join(files, 'rules.json'));
    return rules;
  }

  /** One more program in the image: a shell script. */
  addProgram(name: string, text: string): void {
    writeFileSync(join(this.#image, name), text, { mode: 0o755 });
  }

  async attempt(parameters: readonly string[] = [], environment: Environment = {}, before: readonly string[] = []): Promise<Outcome> {
    const [shell = 'sh', ...words] = this.#shell;
    const [program = '', ...rest] = [...before, join(this.#image, shell), ...words, redirect, ...parameters];
    return this.pod.namespace.attempt(program, rest, { environment: { PATH: this.#image, ...environment } });
  }

  async apply(environment: Environment = {}): Promise<string> {
    const { code, stderr } = await this.attempt([], environment);
    if (code !== 0) throw new Error(stderr);
    return stderr;
  }

  async clean(environment: Environment = {}): Promise<string> {
    const { code, stderr } = await this.attempt(['clean'], environment);
    if (code !== 0) throw new Error(stderr);
    return stderr;
  }

  /** What the rules file says. */
  document(): RulesDocument {
    return rulesDocument.parse(JSON.parse(readFileSync(this.file, 'utf8')));
  }

  /** All rules and routes of the namespace, of every kind, without counters. An empty table does nothing: iptables on nft cannot remove it without nft. */
  async listing(emptyTables = true): Promise<string> {
    const run = async (program: string, ...parameters: string[]): Promise<string> => this.pod.namespace.run(program, parameters);
    const nft = await run('nft', '--stateless', 'list', 'ruleset');
    const legacy = await Promise.all(['iptables-legacy-save', 'ip6tables-legacy-save'].map(async (name) => run(name)));
    // A legacy table that was used once stays, empty, as long as its namespace.
    const lines = legacy.map((text) => text.split('\n').filter((line) => line.startsWith('-A ') || line.includes('KPEERING')));
    const routes = await run('sh', '-c', 'ip rule; ip -6 rule; ip route show table all; ip -6 route show table all');
    // The kernel adds routes of link-local addresses when it has found them unique.
    return [tablesInOrder(nft, emptyTables), ...lines.flat(), ...routes.split('\n').filter((line) => !line.includes('fe80:'))].join('\n');
  }

  /** As the app, or, with `sidecar`, as one that the rules know for the sidecar. */
  async inside(sidecar = false): Promise<Peer> {
    const program = sidecar && isRoot ? ['setpriv', `--regid=${kpeeringGid}`, '--clear-groups', '--'] : [];
    const peer = await Peer.start(this.pod.namespace, program, sidecar && !isRoot ? sidecarMark : undefined);
    this.#peers.push(peer);
    return peer;
  }

  async outside(): Promise<Peer> {
    const peer = await Peer.start(this.pod.node);
    this.#peers.push(peer);
    return peer;
  }

  async close(): Promise<void> {
    for (const peer of this.#peers) await peer.close();
    await this.pod.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A process of rules-peer.ts. */
export class Peer {
  readonly #process: ChildProcess;
  readonly #mark: number | undefined;
  readonly #waiting = new Map<number, PromiseWithResolvers<string>>();
  #requests = 0;

  private constructor(child: ChildProcess, mark: number | undefined) {
    this.#process = child;
    this.#mark = mark;
    child.on('message', ({ id, error, reply }: PeerAnswer) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      waiting?.resolve(error ?? reply ?? '');
    });
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the peer has ended'));
    });
  }

  static async start(namespace: Namespace, before: readonly string[] = [], mark?: number): Promise<Peer> {
    const [program, ...words] = [...before, process.execPath, fileURLToPath(new URL('rules-peer.ts', import.meta.url))];
    const child = namespace.spawn(program, words, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    await once(child, 'spawn');
    return new Peer(child, mark);
  }

  /** Its ports are free then. */
  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    if (this.#process.connected) this.#process.disconnect();
    await exited;
  }

  /** Listens, TCP on both families by default. */
  async serve(name: string, port: number, end: Partial<PeerEnd> = {}): Promise<void> {
    const failure = await this.#ask({ kind: 'serve', name, protocol: 'tcp', host: '::', port, ...this.#marked, ...end });
    if (failure !== '') throw new Error(`${name} cannot listen on ${port}: ${failure}`);
  }

  /** Ends what listens on this port. */
  async stop(port: number): Promise<void> {
    await this.#ask({ kind: 'close', port });
  }

  /** What whoever answers there says, or the error code. */
  async call(host: string, port: number, end: Partial<PeerEnd> & CallOptions = {}): Promise<string> {
    return this.#ask({ kind: 'call', protocol: 'tcp', host, port, ...this.#marked, ...end });
  }

  /** The name of whoever answers there, or the error code. */
  async who(host: string, port: number, end: Partial<PeerEnd> & CallOptions = {}): Promise<string> {
    return nameIn(await this.call(host, port, end));
  }

  get #marked(): { readonly mark?: number } {
    return this.#mark === undefined ? {} : { mark: this.#mark };
  }

  async #ask(request: DistributiveOmit<PeerRequest, 'id'>): Promise<string> {
    const id = (this.#requests += 1);
    const waiting = Promise.withResolvers<string>();
    this.#waiting.set(id, waiting);
    this.#process.send({ ...request, id });
    return waiting.promise;
  }
}

interface CallOptions {
  readonly from?: string;
  readonly fromPort?: number;
  readonly bytes?: number;
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

function nameIn(reply: string): string {
  return /"name":"([^"]*)"/u.exec(reply)?.[1] ?? reply;
}

/** What `nft list ruleset` prints, its tables and their chains in the order of their text: theirs is that in which they were made. */
function tablesInOrder(ruleset: string, emptyOnes: boolean): string {
  const tables = ruleset.replaceAll(/^# Warning.*\n/gmu, '').split(/^(?=table )/mu);
  return tables
    .filter((table) => table !== '' && (emptyOnes || !/^table \S+ \S+ \{\n\}\n$/u.test(table)))
    .map((table) => {
      const [head = '', ...rest] = table.replace(/\}\n$/u, '').split('\n');
      return `${head}\n${rest.join('\n').trimEnd().split('\n\n').toSorted().join('\n\n')}\n}\n`;
    })
    .toSorted()
    .join('');
}
