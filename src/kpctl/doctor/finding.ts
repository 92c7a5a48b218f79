import { Failure } from '../../platform/errors.ts';

/**
 * `ok`: as it should be. `note`: good to know, nothing to do. `warning`: something will not work, or not as expected. `problem`: kpctl's main
 * job does not work. `unknown`: it could not be found out.
 */
export const verdicts = ['ok', 'note', 'warning', 'problem', 'unknown'] as const;
export type Verdict = (typeof verdicts)[number];

/** What a check has found out about one thing. */
export interface Finding {
  /** The id of its check: `webhook`. */
  readonly check: string;
  /** Where a check looks at several: `pod web-1`. */
  readonly subject?: string;
  readonly verdict: Verdict;
  /** What was seen; of `unknown`: why nothing was. One line without a full stop. */
  readonly seen: string;
  /** What to do; may have several lines. */
  readonly fix?: string;
}

/** What checks of the cluster say without an API server: the check `api` says why. */
export const NOT_REACHED = 'not looked at: the API server does not answer';

/** A finding without its check's id, as checks make them. */
export type Seen = Omit<Finding, 'check'>;

export const ok = (seen: string, subject?: string): Seen => finding('ok', seen, undefined, subject);
export const note = (seen: string, fix?: string, subject?: string): Seen => finding('note', seen, fix, subject);
export const warning = (seen: string, fix: string, subject?: string): Seen => finding('warning', seen, fix, subject);
export const problem = (seen: string, fix: string, subject?: string): Seen => finding('problem', seen, fix, subject);
export const unknown = (why: string, fix?: string, subject?: string): Seen => finding('unknown', why, fix, subject);

/** A Failure in a finding's words. */
export function failed(verdict: Verdict, failure: Failure, subject?: string): Seen {
  const likely = failure.likely === undefined ? '' : ` (${failure.likely})`;
  return finding(verdict, `${failure.message}${likely} [${failure.code}]`, failure.remedy, subject);
}

/** Whether it is a Failure with one of these codes. */
export function isFailure(error: unknown, ...codes: readonly string[]): error is Failure {
  return error instanceof Failure && codes.includes(error.code);
}

function finding(verdict: Verdict, seen: string, fix: string | undefined, subject: string | undefined): Seen {
  return { ...(subject !== undefined && { subject }), verdict, seen: seen.replaceAll(/\s*\n\s*/g, ' '), ...(fix !== undefined && { fix }) };
}
