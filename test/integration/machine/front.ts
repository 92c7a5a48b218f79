/** The front of these tests: starts the helper as `kpctl up` does, prints what happens, and does what its standard input says. */
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { Failure, messageOf } from '../../../src/platform/errors.ts';
import { repair, startHelper } from '../../../src/simulator/machine/index.ts';
import { scenarioSchema, type Spoken } from './scenario.ts';

const callerSchema = z.object({
  uid: z.int(),
  gid: z.int(),
  groups: z.array(z.int()),
  name: z.string(),
  home: z.string(),
  environment: z.record(z.string(), z.string()),
  directory: z.string(),
});
const argumentsSchema = z.object({ caller: callerSchema, scenario: scenarioSchema, repairOnly: z.boolean() });
export type FrontArguments = z.infer<typeof argumentsSchema>;

const { caller, scenario, repairOnly } = argumentsSchema.parse(JSON.parse(process.argv[2] ?? ''));

function say(spoken: Spoken): void {
  process.stdout.write(`${JSON.stringify(spoken)}\n`);
}

try {
  if (repairOnly) {
    say({ event: 'started', pid: 0, repaired: [...(await repair())] });
    process.exit(0);
  }
  const agent = fileURLToPath(new URL('agent.ts', import.meta.url));
  const helper = await startHelper({
    caller,
    agent: [process.execPath, '--disable-warning=ExperimentalWarning', agent, JSON.stringify(scenario)],
    onReport: (message) => say({ event: 'report', message }),
  });
  say({ event: 'started', pid: helper.pid, repaired: [...helper.repaired] });
  const input = createInterface({ input: process.stdin });
  input.on('line', (line) => {
    if (line === 'detach') {
      void helper.detach().then(() => {
        say({ event: 'detached' });
        process.exit(0);
      });
    } else void helper.close();
  });
  const { reason, message } = await helper.exited;
  say({ event: 'exited', reason, message });
  process.exit(0);
} catch (error) {
  say({ event: 'failed', code: error instanceof Failure ? error.code : '', message: messageOf(error) });
  process.exit(1);
}
