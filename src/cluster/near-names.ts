/** Names that `name` may have been meant to be: a few typing errors away (Damerau-Levenshtein), or one contains the other; nearest first. */
export function nearNames(name: string, candidates: Iterable<string>, most = 3): string[] {
  const allowed = Math.max(1, Math.floor(name.length / 3));
  return [...new Set(candidates)]
    .map((candidate) => ({ candidate, distance: distanceOf(name, candidate) }))
    .filter(({ candidate, distance }) => distance <= allowed || isPart(name, candidate) || isPart(candidate, name))
    .toSorted((one, other) => one.distance - other.distance || one.candidate.localeCompare(other.candidate))
    .slice(0, most)
    .map(({ candidate }) => candidate);
}

function isPart(part: string, whole: string): boolean {
  return part.length >= 3 && whole.includes(part);
}

/** Insertions, deletions, replacements and transpositions of neighbours (optimal string alignment). */
function distanceOf(one: string, other: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row++) {
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const same = one[row - 1] === other[column - 1];
      let cost = Math.min((previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (previous[column - 1] ?? 0) + (same ? 0 : 1));
      if (row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]) {
        cost = Math.min(cost, (before[column - 2] ?? 0) + 1);
      }
      current.push(cost);
    }
    before = previous;
    previous = current;
  }
  return previous[other.length] ?? 0;
}
