import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { AgentProcess } from '../../../src/simulator/machine/helper/agent-process.ts';
import { caller } from './stage.ts';

test("nothing of the caller's environment is obeyed while the agent's process is still root's", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kp-agent-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o777);
  // The loader writes there at the word of these; at that of LD_PRELOAD it runs any code.
  const environment = { ...caller.environment, LD_DEBUG: 'files', LD_DEBUG_OUTPUT: join(folder, 'loader') };
  const ended = Promise.withResolvers<string>();
  const agent = new AgentProcess({ ...caller, environment }, ['/usr/bin/env'], { onMessage: () => undefined, onEnd: ended.resolve });
  t.is(await ended.promise, 'exit code 0');
  await agent.end();
  t.deepEqual(readdirSync(folder), []);
});
