import { createHash, randomInt } from 'node:crypto';

/** Without vowels and look-alikes (apimachinery's util/rand), so that no words appear. */
const letters = 'bcdfghjklmnpqrstvwxz2456789';

/** A random end of a name, as in `web-7d9f8b6c5-x2x4k`. */
export function randomSuffix(length = 5): string {
  return Array.from({ length }, () => letters[randomInt(letters.length)]).join('');
}

/** A stable short name for a value: the same value gives the same. */
export function hashSuffix(value: unknown, length = 10): string {
  const bytes = createHash('sha256').update(JSON.stringify(value)).digest();
  return [...bytes.subarray(0, length)].map((byte) => letters[byte % letters.length]).join('');
}
