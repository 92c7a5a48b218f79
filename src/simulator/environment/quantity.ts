/** Multipliers of resource.Quantity's suffixes (apimachinery's pkg/api/resource), as powers: [base, exponent]. */
const suffixes: Readonly<Record<string, readonly [bigint, number]>> = {
  n: [10n, -9],
  u: [10n, -6],
  m: [10n, -3],
  '': [10n, 0],
  k: [10n, 3],
  M: [10n, 6],
  G: [10n, 9],
  T: [10n, 12],
  P: [10n, 15],
  E: [10n, 18],
  Ki: [2n, 10],
  Mi: [2n, 20],
  Gi: [2n, 30],
  Ti: [2n, 40],
  Pi: [2n, 50],
  Ei: [2n, 60],
};

/** Nanos in one: the finest a Quantity can say. */
const NANO = 1_000_000_000n;

/** A Quantity (`250m`, `64Mi`, `1e3`, 2) in nanos, rounded up as Kubernetes does; undefined if it is none. */
export function parseQuantity(quantity: string | number): bigint | undefined {
  const match = /^([+-]?)(\d+)?(?:\.(\d*))?(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)$/.exec(String(quantity));
  if (match === null) return undefined;
  const [, sign, whole = '', fraction = '', exponent, suffix = ''] = match;
  if (whole === '' && fraction === '') return undefined;
  const [base, power] = exponent === undefined ? (suffixes[suffix] ?? [10n, 0]) : [10n, Number(exponent)];
  const numerator = BigInt(whole + fraction) * NANO * (power > 0 ? base ** BigInt(power) : 1n);
  const denominator = 10n ** BigInt(fraction.length) * (power < 0 ? base ** BigInt(-power) : 1n);
  return (sign === '-' ? -1n : 1n) * ceilDivide(numerator, denominator);
}

/**
 * A Quantity in units of a divisor, rounded up, as the downward API gives it (pkg/api/v1/resource: CPU in units of at
 * least 1m, all else in whole ones). Undefined if either is no Quantity.
 */
export function divideQuantity(quantity: string | number, divisor: string | number, cpu: boolean): string | undefined {
  const unit = cpu ? NANO / 1000n : NANO;
  const value = parseQuantity(quantity);
  const by = parseQuantity(String(divisor) === '0' || divisor === '' ? '1' : divisor);
  if (value === undefined || by === undefined || by <= 0n) return undefined;
  return ceilDivide(ceilDivide(value, unit), ceilDivide(by, unit)).toString();
}

function ceilDivide(numerator: bigint, denominator: bigint): bigint {
  return numerator <= 0n ? numerator / denominator : (numerator + denominator - 1n) / denominator;
}
