import { atParentsEnd } from '../../../src/lab/index.ts';
import { podScenarios } from './pod-scenarios.ts';
import { scenarios } from './scenarios.ts';

/** Runs one scenario inside the lab's namespaces and tells the test how it went. */
atParentsEnd(() => process.exit(1));
const scenario = { ...scenarios, ...podScenarios }[process.argv[2] ?? ''];
let message: { result: 'passed' | 'failed'; error?: string };
try {
  if (scenario === undefined) throw new Error('there is no such scenario');
  await scenario();
  message = { result: 'passed' };
} catch (error) {
  message = { result: 'failed', error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
process.send?.(message, undefined, {}, () => process.exit(message.result === 'passed' ? 0 : 1));
