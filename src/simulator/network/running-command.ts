import { statSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, resolve } from 'node:path';
import { ExitCode, Failure } from '../../platform/errors.ts';

/** How COMMAND ended. */
export type CommandExit = { readonly code: number } | { readonly signal: NodeJS.Signals };

/** The exit code that stands for it, as shells have it: COMMAND's own, or 128 + the signal's number. */
export function exitCodeOf(exit: CommandExit): number {
  return 'code' in exit ? exit.code : 128 + constants.signals[exit.signal];
}

export interface CommandLine {
  readonly command: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Absolute. */
  readonly directory: string;
}

/** Why COMMAND could not be started: 127 when there is none, 126 when it cannot be executed, 125 for its folder. */
export function notStartedFailure(line: CommandLine, code: string): Failure {
  const name = line.command[0] ?? '';
  if (kindOf(line.directory) !== 'directory') {
    return new Failure('DIRECTORY_MISSING', `the working directory ${line.directory} cannot be used`, { exitCode: ExitCode.kpctlFailed });
  }
  // execvp(3) says EACCES also for a folder of PATH that cannot be searched.
  const exists = existsFor(line, name);
  if (exists && code === 'ENOENT') {
    return new Failure('COMMAND_NOT_EXECUTABLE', `${name} cannot be executed: ${code}`, {
      likely: 'the interpreter that its first line or its header names is missing',
      exitCode: ExitCode.notExecutable,
    });
  }
  if (exists || (code !== 'ENOENT' && code !== 'EACCES')) {
    return new Failure('COMMAND_NOT_EXECUTABLE', `${name} cannot be executed: ${code}`, {
      ...(code === 'EACCES' && { likely: 'it is a folder, or lacks the permission to execute' }),
      exitCode: ExitCode.notExecutable,
    });
  }
  return new Failure('COMMAND_NOT_FOUND', `${name}: command not found`, {
    remedy: name.includes('/') ? 'check the path' : 'check the spelling and PATH',
    exitCode: ExitCode.notFound,
  });
}

/** Whether there is a file that execvp(3) would have tried. */
function existsFor({ environment, directory }: CommandLine, name: string): boolean {
  if (name === '') return false;
  const folders = name.includes('/') ? [''] : (environment['PATH'] ?? '/bin:/usr/bin').split(delimiter);
  // By a path a folder counts too: it is there, and cannot be executed. Along PATH shells pass over folders.
  return folders.some((folder) => {
    const kind = kindOf(resolve(directory, folder, name));
    return kind === 'file' || (kind === 'directory' && name.includes('/'));
  });
}

function kindOf(path: string): 'file' | 'directory' | 'none' {
  try {
    return statSync(path).isDirectory() ? 'directory' : 'file';
  } catch {
    return 'none';
  }
}
