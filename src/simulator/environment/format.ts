import { stringify } from 'yaml';

/** How `kpctl env -o` writes variables. */
export const environmentFormats = ['dotenv', 'json', 'yaml', 'shell'] as const;
export type EnvironmentFormat = (typeof environmentFormats)[number];

export interface FormattedEnvironment {
  /** Ends with a line feed. */
  readonly text: string;
  /** Names that the format cannot say, left out: not identifiers of a shell, or values that no quotes of dotenv hold. */
  readonly leftOut: readonly string[];
}

/**
 * Writes variables, sorted by name. `json` and `yaml`: one object. `shell`: `export NAME='value'` lines, safe for
 * `eval` in a POSIX shell whatever the values are. `dotenv`: read back equal by Node's `util.parseEnv`, whose quotes
 * have no escapes but `\n` in double ones; a value that needs all three kinds of quotes cannot be said.
 */
export function formatEnvironment(variables: Iterable<readonly [string, string]>, format: EnvironmentFormat): FormattedEnvironment {
  const sorted = [...variables].sort(([left], [right]) => (left < right ? -1 : 1));
  if (format === 'json') return { text: `${JSON.stringify(Object.fromEntries(sorted), undefined, 2)}\n`, leftOut: [] };
  if (format === 'yaml') return { text: stringify(Object.fromEntries(sorted), { lineWidth: 0 }), leftOut: [] };
  const lines: string[] = [];
  const leftOut: string[] = [];
  for (const [name, value] of sorted) {
    const line = format === 'shell' ? shellLine(name, value) : dotenvLine(name, value);
    if (line === undefined) leftOut.push(name);
    else lines.push(`${line}\n`);
  }
  return { text: lines.join(''), leftOut };
}

/** Single quotes keep everything in a POSIX shell (2.2.2) but themselves; a NUL cannot be in an environment. */
function shellLine(name: string, value: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || value.includes('\0')) return undefined;
  return `export ${name}='${value.replaceAll("'", String.raw`'\''`)}'`;
}

/**
 * Quotes that keep the value as it is. Single ones keep all but themselves everywhere; double ones come next where
 * there is nothing in them that some reader expands, then backquotes (Node's, and npm's dotenv), then double ones if
 * at least `util.parseEnv`, which expands only `\n`, reads them.
 */
function dotenvLine(name: string, value: string): string | undefined {
  if (!/^[A-Za-z_.-][A-Za-z0-9_.-]*$/.test(name) || /[\0\r]/.test(value)) return undefined;
  if (/^[A-Za-z0-9_./:@%+,-]+$/.test(value)) return `${name}=${value}`;
  if (!value.includes("'")) return `${name}='${value}'`;
  if (!/["\\$]/.test(value)) return `${name}="${value}"`;
  if (!value.includes('`')) return `${name}=\`${value}\``;
  return value.includes('"') || value.includes(String.raw`\n`) ? undefined : `${name}="${value}"`;
}
