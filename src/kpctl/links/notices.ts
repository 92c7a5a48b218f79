/**
 * Lines for the user that many flows could cause at once: each kind is printed at the first time and then at most every
 * ten seconds, with how often it happened meanwhile.
 */
export class Notices {
  static readonly interval = 10_000;
  readonly #print: (line: string) => void;
  readonly #now: () => number;
  readonly #seen = new Map<string, { at: number; suppressed: number }>();

  /** `now`: a clock in milliseconds. */
  constructor(print: (line: string) => void, now: () => number = () => performance.now()) {
    this.#print = print;
    this.#now = now;
  }

  once(kind: string, line: string): void {
    const now = this.#now();
    const seen = this.#seen.get(kind);
    if (seen !== undefined && now - seen.at < Notices.interval) {
      seen.suppressed += 1;
      return;
    }
    const more = seen === undefined || seen.suppressed === 0 ? '' : ` (and ${seen.suppressed} more before)`;
    this.#seen.set(kind, { at: now, suppressed: 0 });
    this.#print(`${line}${more}`);
  }
}
