import { z } from 'zod';
import { onLaptop } from '../../src/kpctl/demo/stage.ts';
import type { ClusterStage } from './cluster-stage.ts';

const stormSchema = z.object({
  answered: z.record(z.string(), z.number()),
  failures: z.array(z.object({ error: z.string() }).loose()),
});
type Storm = z.infer<typeof stormSchema>;

/** Calls of `http://HOST/status` by the stage's caller, one after the other and each on a new connection, until they are stopped. */
export interface SteadyCalls {
  /** Who answered how often, and what failed. */
  stop(): Promise<Storm>;
}

/** Begins to call: 25 times a second, from `deploy/caller` (traffic/load.ts). */
export function steadyCalls(stage: ClusterStage, host: string): SteadyCalls {
  const answered: Record<string, number> = {};
  const failures: Storm['failures'] = [];
  const stopping = new AbortController();
  const program = ['/usr/bin/node', '/traffic/load.ts', 'storm', `http://${host}/status`, '75', '4', '25'];
  async function call(): Promise<void> {
    while (!stopping.signal.aborted) {
      const outcome = await onLaptop(stage, ['kubectl', '-n', stage.namespace, 'exec', 'deploy/caller', '--', ...program]);
      if (outcome.code !== 0) throw new Error(outcome.stderr);
      const storm = stormSchema.parse(JSON.parse(outcome.stdout.trim().split('\n').at(-1) ?? ''));
      for (const [name, count] of Object.entries(storm.answered)) answered[name] = (answered[name] ?? 0) + count;
      failures.push(...storm.failures);
    }
  }
  const ended = call();
  ended.catch(() => {}); // told by stop
  return {
    stop: async () => {
      stopping.abort();
      await ended;
      return { answered, failures };
    },
  };
}
