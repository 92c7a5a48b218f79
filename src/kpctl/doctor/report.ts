import { printable } from '../terminal.ts';
import { NOT_REACHED, verdicts, type Finding, type Verdict } from './finding.ts';

/** Of a terminal: SGR codes (ECMA-48) for the words. */
const colours: Readonly<Record<Verdict, string>> = { ok: '32', note: '36', warning: '33', problem: '31', unknown: '35' };

/** Names of subjects that a line has; the others are counted. */
const NAMED = 3;

/** The report for people: a line for each finding, what to do under it, and how many there are of each verdict. */
export function reportLines(findings: readonly Finding[], colour: boolean): string[] {
  const looked = findings.filter(({ seen }) => seen !== NOT_REACHED);
  const others = [...new Set(findings.flatMap(({ check, seen }) => (seen === NOT_REACHED ? [check] : [])))];
  const rows = [
    ...merged(looked),
    ...(others.length === 0
      ? []
      : [{ verdict: 'unknown' as const, check: 'others', subjects: [], seen: `${NOT_REACHED} (${others.join(', ')})`, fix: undefined }]),
  ];
  const verdictWidth = Math.max(...rows.map(({ verdict }) => verdict.length), 0);
  const checkWidth = Math.max(...rows.map(({ check }) => check.length), 0);
  const indent = ' '.repeat(verdictWidth + checkWidth + 4);
  const lines = rows.flatMap(({ verdict, check, subjects, seen, fix }) => {
    const word = verdict.padEnd(verdictWidth);
    const said = printable(`${named(subjects)}${seen}`).replaceAll('\n', ' ');
    return [
      `${colour ? `\u001B[${colours[verdict]}m${word}\u001B[0m` : word}  ${check.padEnd(checkWidth)}  ${said}`,
      ...(fix === undefined
        ? []
        : printable(fix)
            .split('\n')
            .map((line, index) => `${indent}${index === 0 ? '→ ' : '  '}${line}`)),
    ];
  });
  return [...lines, '', summary(findings)];
}

/** `12 ok, 1 note, 2 problems`. */
function summary(findings: readonly Finding[]): string {
  const counts = verdicts.flatMap((verdict) => {
    const count = findings.filter((finding) => finding.verdict === verdict).length;
    const plural = count === 1 || verdict === 'ok' || verdict === 'unknown' ? '' : 's';
    return count === 0 ? [] : [`${count} ${verdict}${plural}`];
  });
  return counts.join(', ');
}

interface Row {
  readonly verdict: Verdict;
  readonly check: string;
  readonly subjects: readonly string[];
  readonly seen: string;
  readonly fix: string | undefined;
}

/** Findings that say the same of several subjects are one line, in the place of the first. */
function merged(findings: readonly Finding[]): readonly Row[] {
  const rows = new Map<string, Row & { subjects: string[] }>();
  for (const { check, subject, verdict, seen, fix } of findings) {
    const key = JSON.stringify([check, verdict, seen, fix, subject === undefined]);
    const row = rows.get(key) ?? { verdict, check, subjects: [], seen, fix };
    if (subject !== undefined) row.subjects.push(subject);
    rows.set(key, row);
  }
  return [...rows.values()];
}

/** `pod web-1, web-2: `: the word that all have is said once. */
function named(subjects: readonly string[]): string {
  const [first] = subjects;
  if (first === undefined) return '';
  const word = first.split(' ', 1)[0] ?? '';
  const short = subjects.map((subject, index) => (index > 0 && subject.startsWith(`${word} `) ? subject.slice(word.length + 1) : subject));
  const more = short.length - NAMED;
  return `${short.slice(0, NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}: `;
}
