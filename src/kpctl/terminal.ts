import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isatty } from 'node:tty';
import type * as yamlModule from 'yaml';
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
  /**
   * Shows a line below all others, in the place of the one that it showed before; undefined takes it away. Absent where lines cannot be
   * overwritten. For `Progress` (terminal-progress.ts), which everything else uses.
   */
  readonly live?: (line: string | undefined) => void;
  /** Shows lines in the place of all that the terminal shows, as many as it has room for. Absent where results do not go to a terminal. */
  readonly screen?: (lines: readonly string[]) => void;
  /** Whether results may have colours: they go to a terminal, and nobody has set NO_COLOR (no-color.org). */
  readonly colours?: boolean;
}

/** The process's own stdout and stderr. */
export const standardTerminal: Terminal = processTerminal(isatty(2) && process.env['TERM'] !== 'dumb');

function processTerminal(overwrites: boolean): Terminal {
  let shown: string | undefined;
  const above = (write: () => void): void => {
    if (shown !== undefined) writeToStandardError(CLEAR_LINE);
    write();
    if (shown !== undefined) writeToStandardError(shown);
  };
  return {
    result: (line) => above(() => writeToStandardOutput(`${line}\n`)),
    progress: (line) => above(() => writeToStandardError(`${printable(line)}\n`)),
    warn: (line) => above(() => writeToStandardError(`kpctl: warning: ${printable(line)}\n`)),
    colours: isatty(1) && process.env['TERM'] !== 'dumb' && (process.env['NO_COLOR'] ?? '') === '',
    ...(isatty(1) && process.env['TERM'] !== 'dumb' && { screen: showScreen }),
    ...(overwrites && {
      live: (line) => {
        if (line === undefined && shown === undefined) return;
        // A line that the terminal wraps could not be overwritten. Where stderr is a terminal its stream leaves no pipe non-blocking.
        shown =
          line === undefined
            ? undefined
            : printable(line)
                .replaceAll('\n', ' ')
                .slice(0, (process.stderr.columns || 80) - 1);
        writeToStandardError(`${CLEAR_LINE}${shown ?? ''}`);
      },
    }),
  };
}

/** To the upper left corner, each line erased to its end before it is written, then all below (ECMA-48, CUP, EL, ED): nothing flickers. */
function showScreen(lines: readonly string[]): void {
  const { rows, columns } = process.stdout;
  const shown = lines.length < rows ? lines : [...lines.slice(0, rows - 2), `… ${lines.length - rows + 2} more`];
  const text = shown.map((line) => `${printable(line).slice(0, columns - 1)}\u001B[K\r\n`).join('');
  writeToStandardOutput(`\u001B[H${text}\u001B[J`);
}

/** To the first column, and erase to the end of the line (ECMA-48, EL). */
const CLEAR_LINE = '\r\u001B[K';

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

let outputGone: (() => void) | undefined;
let outputState: 'unused' | 'open' | 'gone' = 'unused';

/** `listener` is called once when nobody reads the results any more (`kpctl logs -f web | head`); what is printed after that is dropped. */
export function whenOutputGone(listener: () => void): void {
  outputGone = listener;
}

function writeToStandardOutput(text: string): void {
  if (outputState === 'unused') {
    outputState = 'open';
    process.stdout.on('error', (error) => {
      if (systemCode(error) !== 'EPIPE') throw error;
      if (outputState === 'open') outputGone?.();
      outputState = 'gone';
    });
  }
  if (outputState === 'open') process.stdout.write(text);
}

/** Prints a value in the format asked for; `text` makes the lines for people. */
export function printResult(terminal: Terminal, format: OutputFormat, value: unknown, text: () => readonly string[]): void {
  if (format === 'json') terminal.result(JSON.stringify(value, undefined, 2));
  else if (format === 'yaml') terminal.result(yamlOf(value));
  else for (const line of text()) terminal.result(line);
}

/** Prints one of a stream of events: a line for people, one JSON object a line, or one YAML document each. */
export function printEvent(terminal: Terminal, format: OutputFormat, event: object, text: string): void {
  if (format === 'json') terminal.result(JSON.stringify(event));
  else if (format === 'yaml') terminal.result(`---\n${yamlOf(event)}`);
  else terminal.result(text);
}

/** The library is loaded for who wants YAML: it is 70 files, which all other commands would wait for. */
function yamlOf(value: unknown): string {
  const yaml: unknown = createRequire(import.meta.url)('yaml');
  if (!isYaml(yaml)) throw new Error('yaml is not what it was');
  return yaml.stringify(value).trimEnd();
}

function isYaml(value: unknown): value is Pick<typeof yamlModule, 'stringify'> {
  return typeof value === 'object' && value !== null && 'stringify' in value;
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
