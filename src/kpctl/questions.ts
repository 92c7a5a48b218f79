import { createInterface } from 'node:readline/promises';
import type { AbortOptions } from '../platform/abort.ts';

/** Whoever can be asked: the user at a terminal, or nobody. Tests answer by themselves. */
export interface Questions {
  /** Whether somebody is there to answer: stdin and stderr are a terminal. */
  readonly interactive: boolean;
  /** Asks for a line, and answers it without blanks around it; '' where the user has ended the input. Throws what `signal` aborts with. */
  ask(question: string, options?: AbortOptions): Promise<string>;
}

/** The process's own terminal. The question goes to stderr: stdout may be a file. */
export const standardQuestions: Questions = {
  interactive: process.stdin.isTTY && process.stderr.isTTY,
  ask: async (question, options = {}) => {
    using reader = createInterface({ input: process.stdin, output: process.stderr });
    const ended = new Promise<string>((resolve) => reader.once('close', () => resolve('')));
    // In a terminal's raw mode readline hears Ctrl-C itself; the process is to hear it as ever.
    reader.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
    try {
      return (await Promise.race([reader.question(question, options), ended])).trim();
    } catch (error) {
      options.signal?.throwIfAborted();
      throw error;
    }
  },
};
