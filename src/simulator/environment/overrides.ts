import { expand } from './expansion.ts';

/** Changes that a user makes to an environment. */
export interface EnvironmentOverrides {
  /** Of files, in their order. */
  readonly files: readonly ReadonlyMap<string, string>[];
  readonly unset: readonly string[];
  /** `$(NAME)` in a value is a variable of the container, as in a manifest's `value`. */
  readonly set: readonly (readonly [name: string, value: string])[];
}

/**
 * The environment with the changes: first the files, then what is unset, then what is set, so that the command line wins over a file. `container` are the
 * variables that `$(NAME)` may name, beside those set before it.
 */
export function overrideEnvironment(
  environment: Iterable<readonly [string, string]>,
  { files, unset, set }: EnvironmentOverrides,
  container: ReadonlyMap<string, string>,
): Map<string, string> {
  const result = new Map(environment);
  const known = new Map(container);
  for (const file of files) for (const [name, value] of file) result.set(name, value);
  for (const name of unset) result.delete(name);
  for (const [name, value] of set) {
    const expanded = expand(value, (other) => known.get(other));
    result.set(name, expanded);
    known.set(name, expanded);
  }
  return result;
}
