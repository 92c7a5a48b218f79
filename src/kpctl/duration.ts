import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** Reads `90s`, `5m`, `1h30m`, or a number of seconds, as milliseconds. Commander turns the error into exit code 2. */
export function parseDuration(text: string): number {
  if (/^\d+$/.test(text)) return checked(text, Number(text) * 1_000);
  const parts = [...text.matchAll(/(\d+)([hms])/g)];
  const milliseconds = parts.reduce((sum, [, number = '', unit = '']) => sum + Number(number) * (UNITS[unit] ?? Number.NaN), 0);
  return checked(text, parts.map(([part]) => part).join('') === text ? milliseconds : Number.NaN);
}

function checked(text: string, milliseconds: number): number {
  // A timer waits for 24.8 days at most.
  if (milliseconds > 0 && milliseconds <= 2_147_483_647) return milliseconds;
  throw new InvalidArgumentError(`expected a time such as 90s, 5m or 1h, and "${text}" is none`);
}
