import { z } from 'zod';
import type { BenchPath, BenchStage, Path } from './cluster-paths.ts';

/** What is measured, as orders to the load. */
export const measures = {
  kept8: { kind: 'requests', parallel: 8 },
  kept1: { kind: 'requests', parallel: 1 },
  connections: { kind: 'connections', parallel: 8 },
  down: { kind: 'down' },
  up: { kind: 'up' },
} as const;

export type Measure = keyof typeof measures;

/** What the laptop's nginx does not do: it has no bytes to give, and does not say when it has all of a body. */
const notIntercepted: ReadonlySet<Measure> = new Set(['down', 'up']);

/** The values of each path, one for each round. */
export type Samples = Partial<Record<Path, number[]>>;

export interface MeasureOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly measures: readonly Measure[];
}

const answerSchema = z.object({
  error: z.string().optional(),
  perSecond: z.number().optional(),
  p50: z.number().optional(),
  p99: z.number().optional(),
  failed: z.number().optional(),
  megabytesPerSecond: z.number().optional(),
});
type Answer = z.infer<typeof answerSchema>;

/** The lines of the table that an answer has values for. */
function valuesOf(measure: Measure, answer: Answer): Readonly<Record<string, number | undefined>> {
  switch (measure) {
    case 'kept8':
      return { 'requests/s on 8 kept': answer.perSecond, 'p99 on 8 kept, µs': answer.p99 };
    case 'kept1':
      return { 'p50 on 1 kept, µs': answer.p50, 'p99 on 1 kept, µs': answer.p99 };
    case 'connections':
      return { 'new connections/s by 8': answer.perSecond, 'failed connections': answer.failed };
    case 'down':
    case 'up':
      return { [`bulk ${measure}, MB/s`]: answer.megabytesPerSecond };
  }
}

/** Measures every path in turn, round by round; the order turns too, so that none is always the first. */
export async function measureCluster(stage: BenchStage, options: MeasureOptions): Promise<Readonly<Record<string, Samples>>> {
  const results: Record<string, Samples> = {};
  for (const measure of options.measures) {
    for (let round = 0; round < options.rounds; round += 1) {
      const usable = stage.paths.filter(({ name }) => name !== 'intercept' || !notIntercepted.has(measure));
      const first = round % usable.length;
      for (const path of [...usable.slice(first), ...usable.slice(0, first)]) {
        for (const [name, value] of Object.entries(valuesOf(measure, await order(path, measure, options)))) {
          if (value !== undefined) ((results[name] ??= {})[path.name] ??= []).push(value);
        }
      }
    }
  }
  return results;
}

async function order(path: BenchPath, measure: Measure, { seconds, bytes }: MeasureOptions): Promise<Answer> {
  const answer = answerSchema.parse(await path.load.order({ ...path.target, ...measures[measure], seconds, bytes }));
  if (answer.error !== undefined) throw new Error(`${measure} by ${path.name}: ${answer.error}`);
  return answer;
}
