import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { ExitCode, Failure, messageOf, systemCode } from '../platform/errors.ts';
import type { EnvironmentOverrides } from '../simulator/environment/index.ts';

/** What a user changes in an environment, as the options say it. */
export interface EnvironmentOptions {
  readonly envFile: string[];
  readonly env: (readonly [string, string])[];
  readonly unset: string[];
}

/** Adds `--env-file`, `--env` and `--unset`, each to be repeated. */
export function withEnvironmentOptions(command: Command): Command {
  const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];
  return command
    .addOption(new Option('--env-file <file>', 'variables from a file in dotenv syntax').argParser(collect).default([], 'none'))
    .addOption(
      new Option('--env <NAME=VALUE>', "set a variable; $(NAME) in the value is one of the container's")
        .argParser(parseAssignment)
        .default([], 'none'),
    )
    .addOption(new Option('--unset <name>', 'leave a variable out').argParser(collect).default([], 'none'));
}

/** Reads the files. Throws the Failure ENV_FILE_UNREADABLE. */
export function environmentOverrides({ envFile, env, unset }: EnvironmentOptions): EnvironmentOverrides {
  return { files: envFile.map(readVariables), unset, set: env };
}

/** Reads one `NAME=VALUE`; collects when the option is repeated. */
export function parseAssignment(text: string, before: readonly (readonly [string, string])[] = []): (readonly [string, string])[] {
  const equals = text.indexOf('=');
  if (equals <= 0) throw new InvalidArgumentError(`expected NAME=VALUE, as in GREETING=hello`);
  return [...before, [text.slice(0, equals), text.slice(equals + 1)]];
}

function readVariables(path: string): ReadonlyMap<string, string> {
  try {
    const variables = parseEnv(readFileSync(path, 'utf8'));
    return new Map(Object.entries(variables).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
  } catch (error) {
    throw new Failure('ENV_FILE_UNREADABLE', `the file ${path} cannot be read: ${systemCode(error) ?? messageOf(error)}`, {
      remedy: 'check the path that --env-file names',
      exitCode: ExitCode.usage,
    });
  }
}
