import { writeSync } from 'node:fs';
import { stringify } from 'yaml';
import { systemCode } from '../platform/errors.ts';

/** How a command prints its result. */
export type OutputFormat = 'text' | 'json' | 'yaml';

/**
 * Where a command prints: results go to stdout, progress and warnings to stderr. Commands never touch
 * `process.stdout` themselves, so that tests and the demo can listen.
 */
export interface Terminal {
  /** One line of a result. */
  result(line: string): void;
  /** One line of progress. */
  progress(line: string): void;
  /** One line that the user should see although nothing failed; `kpctl: warning: ` is put before it. */
  warn(line: string): void;
}

/** The process's own stdout and stderr. */
export const standardTerminal: Terminal = {
  result: (line) => void process.stdout.write(`${line}\n`),
  progress: (line) => writeToStandardError(`${printable(line)}\n`),
  warn: (line) => writeToStandardError(`kpctl: warning: ${printable(line)}\n`),
};

/**
 * Text with what others have said in it (who holds a claim, why a pod refused) as a terminal may be given it: without control characters
 * but line breaks, and without those that change the direction of the text.
 */
export function printable(text: string): string {
  return text.replaceAll(/[^\P{Cc}\n\t]|[\u{202a}-\u{202e}\u{2066}-\u{2069}]/gu, '\u{fffd}');
}

/**
 * Written without `process.stderr`, which would make a pipe non-blocking (O_NONBLOCK is of the open file, not of the
 * descriptor) also for the command that `kpctl run` shares it with. A message that nobody takes is dropped.
 */
function writeToStandardError(text: string): void {
  try {
    writeSync(2, text);
  } catch (error) {
    const code = systemCode(error);
    if (code !== 'EAGAIN' && code !== 'EPIPE') throw error;
  }
}

/** Prints a value in the format asked for; `text` makes the lines for people. */
export function printResult(terminal: Terminal, format: OutputFormat, value: unknown, text: () => readonly string[]): void {
  if (format === 'json') terminal.result(JSON.stringify(value, undefined, 2));
  else if (format === 'yaml') terminal.result(stringify(value).trimEnd());
  else for (const line of text()) terminal.result(line);
}

/** Prints one of a stream of events: a line for people, one JSON object a line, or one YAML document each. */
export function printEvent(terminal: Terminal, format: OutputFormat, event: object, text: string): void {
  if (format === 'json') terminal.result(JSON.stringify(event));
  else if (format === 'yaml') terminal.result(`---\n${stringify(event).trimEnd()}`);
  else terminal.result(text);
}

/** Columns padded to the widest cell, two spaces between them, as kubectl prints tables. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = [header, ...rows].map((row) => row.map((cell) => printable(cell).replaceAll('\n', ' ')));
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
