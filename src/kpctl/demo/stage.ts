import { run, start, type Outcome, type Running } from './processes.ts';

/**
 * Where the stories are played: a cluster with the example applications in one namespace, and a host that is the
 * laptop. The demo gives one in the lab, the end-to-end tests one on whatever cluster `$KUBECONFIG` names.
 */
export interface Stage {
  readonly namespace: string;
  /** Put before every program that shall run on the laptop; empty: this machine is the laptop. */
  readonly laptopPrefix: readonly string[];
  /** kpctl as the laptop starts it: `[node, bin/kpctl.js]`. */
  readonly kpctl: readonly string[];
  /** The example program as the laptop starts it: `[node, deploy/examples/apps/main.js]`. */
  readonly example: readonly string[];
  /** Environment of the laptop's programs: KUBECONFIG, PATH, HOME, XDG_RUNTIME_DIR. */
  readonly environment: NodeJS.ProcessEnv;
  /** Where the stories' lines go. */
  readonly tell: (line: string) => void;
}

/** Runs a program of the laptop to its end. */
export async function onLaptop(stage: Stage, argv: readonly string[], options: { readonly input?: string } = {}): Promise<Outcome> {
  return await run([...stage.laptopPrefix, ...argv], stage.environment, options);
}

/** Starts a program of the laptop. */
export function startOnLaptop(stage: Stage, argv: readonly string[], environment: NodeJS.ProcessEnv = {}): Running {
  return start([...stage.laptopPrefix, ...argv], { ...stage.environment, ...environment });
}

/** argv of `kpctl SUBCOMMAND -n NAMESPACE …`. */
export function kpctl(stage: Stage, subcommand: string, ...rest: string[]): string[] {
  return [...stage.kpctl, subcommand, '-n', stage.namespace, ...rest];
}

/** A line of the story that real traffic did not bear out. */
export class StoryError extends Error {
  override readonly name = 'StoryError';
}

/** Tells one line when `actual` is what the story expects, and ends the story when it is not. */
export function expectLine(stage: Stage, line: string, actual: string, expected: string | RegExp): void {
  const good = typeof expected === 'string' ? actual === expected : expected.test(actual);
  if (!good) throw new StoryError(`${line}: expected ${String(expected)}, saw ${JSON.stringify(actual)}`);
  stage.tell(`  ok  ${line}: ${actual.trim().split('\n').join(' | ')}`);
}

/** Ends a kpctl as Ctrl-C does: it says goodbye, so that its claims end at once. Its exit code must be the one expected. */
export async function interrupt(
  stage: Stage,
  program: Running,
  what: string,
  signal: 'SIGINT' | 'SIGTERM',
  expected: number,
): Promise<void> {
  program.kill(signal);
  const { code } = await program.exited;
  expectLine(stage, `${signal} ends ${what}`, `exit code ${code}`, `exit code ${expected}`);
}
