import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { Namespace } from '../../harness/namespaces.ts';
import { Pod, podAddress, podAddress6, textOf, tproxy } from '../pod/pod.ts';
import { servers } from './all.ts';
import { redisPort } from './redis.ts';
import { Place } from '../../harness/place.ts';
import type { Flow, ServerCase } from './server-case.ts';

/** What is between the clients and the servers. */
export type Arrangement =
  /** Nothing of ours: what the others are measured by. */
  { readonly mode: 'none' } | { readonly mode: 'redirect' | 'tproxy'; readonly claimed: boolean };

const laptopProgram = fileURLToPath(new URL('laptop.ts', import.meta.url));
const START_MILLISECONDS = 90_000;
const CHECK_MILLISECONDS = 90_000;

const udpPorts = servers.flatMap(({ flows }) => flows.filter(({ protocol }) => protocol === 'udp').map(({ port }) => port));
/** What the init container and the sidecar are told. All TCP ports are captured; UDP where there is a rule for it. */
const rules = {
  redirect: { KPEERING_MODE: 'redirect' },
  tproxy: { ...tproxy, KPEERING_INBOUND_UDP_PORTS: udpPorts.join(',') },
} as const;

/** All servers, each with all its checks, in one arrangement: the tests of a file. */
export function testServers(arrangement: Arrangement): void {
  const folder = mkdtempSync(join(tmpdir(), 'kpeering-servers-'));
  let stage: Stage | undefined;
  test.before('the pod', async (t) => {
    t.timeout(START_MILLISECONDS);
    stage = await Stage.open(arrangement, folder);
  });
  test.after.always('all of it ends', async () => {
    await stage?.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  });
  for (const server of servers) {
    test.serial(`${server.name} starts`, async (t) => {
      t.timeout(START_MILLISECONDS);
      await t.notThrowsAsync(async () => stage?.serve(server));
    });
    for (const check of server.checks) {
      test.serial(`${server.name}: ${check.title}`, async (t) => {
        t.timeout(CHECK_MILLISECONDS);
        const place = stage?.placeOf(server);
        if (stage === undefined || place === undefined) throw new Error('the server does not run');
        t.deepEqual(await check.observe({ caller: stage.caller, host: podAddress, host6: podAddress6, server: place }), check.expected);
      });
    }
  }
  if (arrangement.mode === 'none') return;
  const crosses = arrangement.mode === 'redirect' || arrangement.claimed;
  test.serial(crosses ? 'and all that crossed the sidecar' : 'and none of that crossed the sidecar', async (t) => {
    const flows = await stage?.flowsThroughSidecar();
    if (crosses) t.true(flows !== undefined && flows > 0);
    else t.is(flows, 0);
  });
}

class Stage {
  readonly #pod: Pod;
  readonly #arrangement: Arrangement;
  readonly #folder: string;
  readonly #places = new Map<ServerCase, Place>();
  #laptop: Namespace | undefined;

  private constructor(pod: Pod, arrangement: Arrangement, folder: string) {
    this.#pod = pod;
    this.#arrangement = arrangement;
    this.#folder = folder;
  }

  static async open(arrangement: Arrangement, folder: string): Promise<Stage> {
    return new Stage(arrangement.mode === 'none' ? await Pod.bare() : await Pod.start([], rules[arrangement.mode]), arrangement, folder);
  }

  get caller(): Namespace {
    return this.#pod.node;
  }

  placeOf(server: ServerCase): Place | undefined {
    return this.#places.get(server);
  }

  /** Starts a server: in the pod, or on the laptop, where its flows are claimed and nothing in the pod could answer. */
  async serve(server: ServerCase): Promise<void> {
    const onLaptop = this.#claims(server);
    const namespace = onLaptop ? (this.#laptop ??= await this.#pod.world.namespace('laptop')) : this.#pod.namespace;
    const place = new Place(namespace, mkdtempSync(join(this.#folder, 'server-')));
    await server.start(place);
    if (onLaptop) await this.#claim(namespace, server.flows);
    this.#places.set(server, place);
  }

  /** How many connections the sidecar has, while one to Redis is open. */
  async flowsThroughSidecar(): Promise<number> {
    const socket = await this.#pod.call(redisPort);
    socket.write('PING\r\n');
    await once(socket, 'data');
    const health = await this.#pod.call(15_320);
    health.write('GET /metrics HTTP/1.0\r\n\r\n');
    const metrics = await textOf(health);
    socket.destroy();
    return Number(/^kpeering_flows (\d+)$/mu.exec(metrics)?.[1]);
  }

  #claims({ flows }: ServerCase): boolean {
    const arrangement = this.#arrangement;
    if (arrangement.mode === 'none' || !arrangement.claimed) return false;
    return arrangement.mode === 'tproxy' || flows.every(({ protocol }) => protocol === 'tcp');
  }

  async #claim(laptop: Namespace, flows: readonly Flow[]): Promise<void> {
    const words = flows.map(({ protocol, port }) => `${protocol}:${port}`);
    const child = laptop.spawn(process.execPath, [laptopProgram, ...words], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const answer = async (): Promise<string> => {
      const messages: unknown[] = await once(child, 'message');
      return String(messages[0]);
    };
    await answer();
    const claimed = answer();
    child.send('tunnel', await this.#pod.namespace.connect({ host: '127.0.0.1', port: 15_310 }));
    const said = await claimed;
    if (said !== 'claimed') throw new Error(`the laptop could not claim: ${said}`);
  }

  async close(): Promise<void> {
    await this.#pod.close();
  }
}
