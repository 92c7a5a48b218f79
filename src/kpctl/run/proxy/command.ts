import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import type { Closeable } from '../../../platform/owned.ts';
import { systemCode } from '../../../platform/errors.ts';
import { notStartedFailure, type CommandExit, type CommandLine } from '../../../simulator/network/running-command.ts';
import { GroupSignals, sameGroup } from './group-signals.ts';

/** How long COMMAND has to end by itself when kpctl ends it. */
const GRACE_MILLISECONDS = 2_000;

/**
 * COMMAND as an ordinary child: in kpctl's process group, so that the terminal treats it as it would without kpctl, with kpctl's own
 * stdin, stdout and stderr.
 */
export class PlainCommand implements Closeable {
  readonly exited: Promise<CommandExit>;
  readonly #child: ChildProcess;
  readonly #group: GroupSignals;
  #closing: Promise<void> | undefined;

  private constructor(child: ChildProcess, group: GroupSignals, exited: Promise<CommandExit>) {
    this.#child = child;
    this.#group = group;
    this.exited = exited;
  }

  /** Rejects with a Failure: exit code 127 (not found), 126 (not executable), 125 (its folder). */
  static async start(line: CommandLine): Promise<PlainCommand> {
    const [file = '', ...parameters] = line.command;
    const group = new GroupSignals();
    try {
      // ENOENT from exec would not tell a missing folder from a missing program.
      statSync(line.directory);
      const child = spawn(file, parameters, { cwd: line.directory, env: line.environment, stdio: 'inherit' });
      const exited = exitOf(child);
      await once(child, 'spawn');
      // A signal that it may not be sent (it has become another user's, as sudo does) does not get there; that is all.
      child.on('error', () => undefined);
      return new PlainCommand(child, group, exited);
    } catch (error) {
      await group.close();
      throw notStartedFailure(line, systemCode(error) ?? 'UNKNOWN');
    }
  }

  /** Delivers a signal that kpctl got. If the whole process group got it (Ctrl-C), COMMAND has it already, unless it made a group of its own. */
  async signal(name: NodeJS.Signals): Promise<void> {
    const { pid } = this.#child;
    if (pid !== undefined && (await this.#group.had(name)) && (await sameGroup(pid))) return;
    this.#child.kill(name);
  }

  /** Ends COMMAND if it still runs: SIGTERM, and SIGKILL two seconds later. What it has left behind stays. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM');
      const force = setTimeout(() => this.#child.kill('SIGKILL'), GRACE_MILLISECONDS);
      await this.exited;
      clearTimeout(force);
    }
    await this.#group.close();
  }
}

function exitOf(child: ChildProcess): Promise<CommandExit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(signal === null ? { code: code ?? 0 } : { signal }));
  });
}
