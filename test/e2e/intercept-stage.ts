import { z } from 'zod';
import type { Running } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import type { ClusterStage } from './cluster-stage.ts';

const stormSchema = z.object({
  answered: z.record(z.string(), z.number()),
  failures: z.array(z.object({ began: z.number(), ended: z.number(), error: z.string() })),
  turns: z.array(z.object({ by: z.string(), from: z.number() })),
});
/** What traffic/load.ts says of its calls. */
export type Storm = z.infer<typeof stormSchema>;

export interface PodName {
  readonly name: string;
  readonly ip: string;
  readonly uid: string;
}

/** A stage whose laptop runs an HTTP server, for intercepts; its calls come from `deploy/caller`. */
export interface InterceptStage {
  readonly stage: ClusterStage;
  /** The laptop's name: its server says that it answered. */
  readonly laptop: string;
  /** The port of the laptop's server. */
  readonly port: string;
  /** `kpctl intercept`, ready. */
  intercept(workload: string, ...options: string[]): Promise<Running>;
  /** Ctrl-C, and its end. */
  leave(intercept: Running): Promise<void>;
  /** The pods of an app that are not being deleted, by name. */
  pods(app: string): Promise<PodName[]>;
  /** Who answers `http://HOST/status` to a caller in another pod. */
  asked(host: string): Promise<string>;
  /** Calls from that pod: so many in all, each on a new connection, so many a second, and 4 at a time at most unless said otherwise. */
  calls(host: string, count: number, perSecond: number, parallel?: number): Running;
  /** Their end. */
  answers(calls: Running): Promise<Storm>;
}

/** Starts the laptop's server, which is the caller's to end. */
export async function openInterceptStage(stage: ClusterStage): Promise<InterceptStage & AsyncDisposable> {
  const server = startOnLaptop(stage, [...stage.example, 'server', '0']);
  const port = /\d+$/u.exec(await server.waitForLine(/listens on/u))?.[0] ?? '';
  const laptop = (await onLaptop(stage, ['hostname'])).stdout.trim();
  const exec = ['kubectl', '-n', stage.namespace, 'exec', 'deploy/caller', '--', '/usr/bin/node'];
  return {
    stage,
    laptop,
    port,
    intercept: async (workload, ...options) => {
      const running = startOnLaptop(stage, kpctl(stage, 'intercept', workload, ...options));
      try {
        await running.waitForLine(/^ready$/u);
      } catch (error) {
        await running[Symbol.asyncDispose]();
        throw error;
      }
      return running;
    },
    leave: async (intercept) => {
      intercept.kill('SIGINT');
      await intercept.exited;
    },
    pods: async (app) => {
      const form = 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.metadata.uid} {.metadata.deletionTimestamp}{"\\n"}{end}';
      const lines = (await stage.kubectlOut('get', 'pods', '-l', `app=${app}`, '-o', form)).trim().split('\n');
      const rows = lines.map((line) => line.split(' '));
      return rows.flatMap(([name = '', ip = '', uid = '', deleted = '']) => (deleted === '' && name !== '' ? [{ name, ip, uid }] : []));
    },
    asked: async (host) => {
      const outcome = await onLaptop(stage, [...exec, '/opt/examples/main.js', 'get', `http://${host}/status`]);
      return /on (\S+) is well/u.exec(outcome.stdout)?.[1] ?? `${outcome.stdout}${outcome.stderr}`.trim();
    },
    calls: (host, count, perSecond, parallel = 4) =>
      startOnLaptop(stage, [
        ...exec,
        '/traffic/load.ts',
        'storm',
        `http://${host}/status`,
        String(count),
        String(parallel),
        String(perSecond),
      ]),
    answers: async (calls) => {
      const outcome = await calls.exited;
      return stormSchema.parse(JSON.parse(outcome.stdout.trim().split('\n').at(-1) ?? outcome.stderr));
    },
    [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose](),
  };
}
