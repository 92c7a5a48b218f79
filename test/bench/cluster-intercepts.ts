import { hostname } from 'node:os';
import { z } from 'zod';
import { kpctl, onLaptop } from '../../src/kpctl/demo/stage.ts';
import { OwnedStack } from '../../src/platform/owned.ts';
import { leftOnLaptop, laptopState } from '../e2e/laptop-state.ts';
import { loadInCaller, podOf, startIntercept, startNginx, type BenchStage } from './cluster-paths.ts';

/** What beginning and ending an intercept costs, again and again. */
export interface InterceptCycles {
  /** From the start of `kpctl intercept` to the laptop's first answer, in milliseconds, of each cycle. */
  readonly firstAnswer: readonly number[];
  /** What did not go as it must: a sentence each. */
  readonly failures: readonly string[];
  /** What was left on the laptop, and claims in the pod. */
  readonly left: readonly string[];
}

const target = { host: 'claimed', port: 8080 };
const untilSchema = z.object({ milliseconds: z.number() });
const whoSchema = z.object({ text: z.string() });
const listSchema = z.array(z.object({ workload: z.string(), claims: z.array(z.object({ claims: z.array(z.unknown()).default([]) })) }));

/** `cycles` times: `kpctl intercept`, an answer by the laptop, Ctrl-C, an answer by the pod. Nobody else may intercept it meanwhile. */
export async function measureIntercepts({ stage }: BenchStage, cycles: number): Promise<InterceptCycles> {
  const before = await laptopState(stage);
  const stack = new OwnedStack();
  const firstAnswer: number[] = [];
  const failures: string[] = [];
  try {
    await startNginx(stage, stack);
    const load = await loadInCaller(stage, stack);
    const pod = await podOf(stage, 'claimed');
    for (let cycle = 1; cycle <= cycles; cycle += 1) {
      const running = startIntercept(stage);
      try {
        firstAnswer.push(untilSchema.parse(await load.order({ kind: 'until', ...target, by: hostname() })).milliseconds);
        await running.waitForLine(/^ready$/);
        running.kill('SIGINT');
        const { code, stderr } = await running.exited;
        if (code !== 130) failures.push(`cycle ${cycle}: exit code ${code}: ${stderr}`);
        const { text } = whoSchema.parse(await load.order({ kind: 'who', ...target }));
        if (!text.includes(`answered by ${pod} `)) failures.push(`cycle ${cycle}: after it had ended, the answer was ${text}`);
      } catch (error) {
        failures.push(`cycle ${cycle}: ${String(error)}`);
      } finally {
        await running[Symbol.asyncDispose]();
      }
    }
  } finally {
    await stack.close();
  }
  const { stdout } = await onLaptop(stage, kpctl(stage, 'list', '-o', 'json'));
  const claimed = listSchema.parse(JSON.parse(stdout)).filter(({ claims }) => claims.some((ofPod) => ofPod.claims.length > 0));
  const left = await leftOnLaptop(stage, before);
  return { firstAnswer, failures, left: [...left, ...claimed.map(({ workload }) => `a claim on ${workload}`)] };
}
