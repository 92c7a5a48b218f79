import { pino, type Logger } from 'pino';

export type { Logger };

/**
 * The program's log: JSON lines on stderr (file descriptor 2), level from `KPEERING_LOG` (pino's level names).
 * Messages for a user are not logged, they are printed by `kpctl`.
 */
export function createLogger(name: string, level: string = process.env['KPEERING_LOG'] ?? 'info'): Logger {
  return pino({ name, level, base: { name } }, pino.destination({ fd: 2, sync: true }));
}

/** A log that says nothing, for tests and for library use. */
export const silentLogger: Logger = pino({ level: 'silent' });
