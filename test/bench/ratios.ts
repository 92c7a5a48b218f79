/** The middle value; of an even number of values the mean of the two. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[(sorted.length >> 1) - 1] ?? upper)) / 2;
}

/** The value below which that share of the values lies. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = Float64Array.from(numbers).toSorted();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** The median of the ratios within each round, with the quartiles and the extremes: `0.99 (0.97–1.01; 0.93–1.08)`. */
export function ratioText(of: readonly number[], to: readonly number[]): string {
  const ratios = of.map((value, index) => value / (to[index] ?? Number.NaN)).toSorted((a, b) => a - b);
  const at = (share: number): string => (ratios[Math.round((ratios.length - 1) * share)] ?? Number.NaN).toFixed(2);
  return `${median(ratios).toFixed(3)} (${at(0.25)}–${at(0.75)}; ${at(0)}–${at(1)})`;
}
