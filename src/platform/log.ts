import { writeSync } from 'node:fs';

/** By rising weight; a logger leaves those below its own out. The numbers are the field `level` of a line. */
const levels = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, fatal: 60, silent: Infinity } as const;
type Level = Exclude<keyof typeof levels, 'silent'>;

interface Write {
  (message: string): void;
  /** `fields.err` is an error, written with its stack. */
  (fields: object, message?: string): void;
}

/** The program's log. */
export type Logger = Readonly<Record<Level, Write>>;

/**
 * Writes JSON lines to stderr (file descriptor 2): level, time in milliseconds since 1970, name, the fields, msg; as pino writes them, whose
 * 2.5 MB every idle sidecar would hold (decision 0011). `level`: one of {@link levels}, by default that of `KPEERING_LOG`; another word
 * means `info`. Messages for a user are not logged, they are printed by `kpctl`.
 */
export function createLogger(
  name: string,
  level: string = process.env['KPEERING_LOG'] ?? 'info',
  write: (line: string) => void = toStderr,
): Logger {
  const least = isLevel(level) ? levels[level] : levels.info;
  function writer(of: Level): Write {
    if (levels[of] < least) return ignored;
    return (first: string | object, message?: string) => {
      const fields = typeof first === 'string' ? { msg: first } : { ...first, ...(message === undefined ? {} : { msg: message }) };
      write(`${encode({ level: levels[of], time: Date.now(), name, ...fields })}\n`);
    };
  }
  return {
    trace: writer('trace'),
    debug: writer('debug'),
    info: writer('info'),
    warn: writer('warn'),
    error: writer('error'),
    fatal: writer('fatal'),
  };
}

/** A log that says nothing, for tests and for library use. */
export const silentLogger: Logger = createLogger('', 'silent');

function isLevel(word: string): word is keyof typeof levels {
  return Object.hasOwn(levels, word);
}

function encode(line: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(line, (_, value: unknown) => {
      if (value instanceof Error) return describe(value);
      return typeof value === 'bigint' ? String(value) : value;
    });
  } catch {
    // It refers to itself.
    const { level, time, name, msg } = line;
    return JSON.stringify({ level, time, name, msg });
  }
}

function describe(error: Error): object {
  const own = Object.fromEntries(Object.entries(error));
  return Object.assign(own, {
    type: error.name,
    message: error.message,
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: error.cause }),
  });
}

/** A log that cannot be written is lost: nothing may fail for want of it. */
function toStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // Closed, or a full pipe that does not block.
  }
}

function ignored(): void {}
