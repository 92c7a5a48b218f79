import { redactObject } from './redact-object.ts';
import { redactText } from './redact-text.ts';
import type { ArchiveFile } from './tar.ts';

/** What all files of an archive may come to, in bytes: what is beyond is left out, and that is said. */
const MAX_BYTES = 64 * 1024 * 1024;

/** The files of an archive as they come, redacted; and what could not be had, and why. */
export class Contents {
  readonly #files: ArchiveFile[] = [];
  readonly #missing: string[] = [];
  readonly #limit: number;
  #bytes = 0;

  constructor(limit = MAX_BYTES) {
    this.#limit = limit;
  }

  get files(): readonly ArchiveFile[] {
    return this.#files;
  }

  /** What is not in it: `logs of shop/web-1: …`. */
  get missing(): readonly string[] {
    return this.#missing;
  }

  /** A log, or another text. */
  text(path: string, text: string): void {
    this.#add(path, redactText(text));
  }

  /** Objects of the API, and values of ours, as JSON. */
  json(path: string, value: unknown): void {
    this.#add(path, `${JSON.stringify(redactObject(value), undefined, 2)}\n`);
  }

  lacks(what: string): void {
    this.#missing.push(redactText(what));
  }

  #add(path: string, content: string): void {
    if (this.#bytes + content.length > this.#limit) {
      this.lacks(`${path}: the archive would be larger than ${this.#limit / 1024 / 1024} MiB`);
      return;
    }
    this.#bytes += content.length;
    this.#files.push({ path, content });
  }
}
