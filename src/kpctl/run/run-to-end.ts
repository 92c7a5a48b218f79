import { exitCodeOf, type CommandExit } from '../../simulator/network/running-command.ts';
import type { Interruption } from '../interruption.ts';

/** COMMAND as it runs. */
export interface Running {
  readonly exited: Promise<CommandExit>;
  signal(name: NodeJS.Signals): unknown;
}

/** Starts COMMAND and answers its exit code. A signal that comes while it starts is passed on once it has; `leave` ends it. */
export async function runToEnd(start: () => Promise<Running>, interruption: Interruption, leave: AbortSignal): Promise<number> {
  let running: Running | undefined;
  const early: NodeJS.Signals[] = [];
  const giveBack = interruption.handOver((signal) => {
    if (running === undefined) early.push(signal);
    else void running.signal(signal);
  });
  try {
    const command = await start();
    running = command;
    for (const signal of early) void command.signal(signal);
    leave.addEventListener('abort', () => void command.signal('SIGTERM'), { once: true });
    if (leave.aborted) void command.signal('SIGTERM');
    return exitCodeOf(await command.exited);
  } finally {
    giveBack();
  }
}
