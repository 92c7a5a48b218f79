import test from 'ava';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { enterLab } from '../../../src/lab/index.ts';

const resultSchema = z.object({ result: z.enum(['passed', 'failed']), error: z.string().optional() });

/** An ava test whose body is a scenario (an export of `scenarios.ts`), run as the first program in the lab's namespaces. */
export function labTest(title: string, scenario: string): void {
  test(title, async (t) => {
    await using lab = await enterLab([
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      fileURLToPath(new URL('inside-main.ts', import.meta.url)),
      scenario,
    ]);
    let answer: z.infer<typeof resultSchema> = { result: 'failed', error: 'it ended without an answer' };
    lab.child.on('message', (message) => {
      answer = resultSchema.parse(message);
    });
    await lab.ended;
    t.is(answer.result, 'passed', answer.error);
  });
}
