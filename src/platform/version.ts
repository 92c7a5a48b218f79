import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** kpeering's own version, from the package.json two folders up (`src/platform` and `dist/platform` alike). */
export const version: string = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))).version;
