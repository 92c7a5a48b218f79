import { readFileSync } from 'node:fs';

/** kpeering's own version, from the package.json two folders up (`src/platform` and `dist/platform` alike). */
export const version: string = readVersion(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')));

// Checked by hand: it is read at every start, and an idle sidecar has no other use for zod (decision 0011).
function readVersion(manifest: unknown): string {
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest && typeof manifest.version === 'string')
    return manifest.version;
  throw new Error('package.json has no version');
}
