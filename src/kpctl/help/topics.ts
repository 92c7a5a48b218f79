import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A long story of `kpctl help`. */
export interface Topic {
  readonly name: string;
  /** The first heading. */
  readonly title: string;
  /** Markdown, of the kind that `render.ts` knows, without the first heading. */
  readonly text: string;
}

/** Beside the code, also in the package. */
const folder = new URL('topics/', import.meta.url);

/** All topics, by name. */
export function topics(): Topic[] {
  return readdirSync(fileURLToPath(folder))
    .filter((file) => file.endsWith('.md'))
    .sort()
    .map((file) => topic(file));
}

function topic(file: string): Topic {
  const text = readFileSync(new URL(file, folder), 'utf8');
  const [first = '', ...rest] = text.split('\n');
  return { name: file.replace(/\.md$/, ''), title: first.replace(/^# /, ''), text: rest.join('\n').trim() };
}
