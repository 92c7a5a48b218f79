/**
 * The two kinds of error (ARCHITECTURE promise 5). A `Failure` is something that can happen to a user who
 * makes no mistake in our code's eyes: it is printed as one message without a stack trace. Anything else
 * that reaches the edge of the program is a bug and goes to the log with its stack.
 */

/** Exit codes of `kpctl` itself; `kpctl run` also returns 125, 126, 127 and 128+n as a shell does. */
export const ExitCode = { done: 0, failed: 1, usage: 2, kpctlFailed: 125, notExecutable: 126, notFound: 127, interrupted: 130 } as const;

export interface FailureOptions {
  /** The likely cause, a clause without a full stop: `the token has expired`. */
  readonly likely?: string;
  /** What the user can do, an imperative clause: `run "kubectl get pods" to see the cluster's own answer`. */
  readonly remedy?: string;
  /** 1 (failed) unless it is the user's usage (2), or one of `run`'s codes. */
  readonly exitCode?: number;
  readonly cause?: unknown;
}

/** An expected failure: stable code, what failed, likely cause, what to do. */
export class Failure extends Error {
  override readonly name = 'Failure';
  /** Stable, documented in docs/errors.md: `KUBECONFIG_MISSING`. */
  readonly code: string;
  readonly likely: string | undefined;
  readonly remedy: string | undefined;
  readonly exitCode: number;

  constructor(code: string, what: string, options: FailureOptions = {}) {
    super(what, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.likely = options.likely;
    this.remedy = options.remedy;
    this.exitCode = options.exitCode ?? ExitCode.failed;
  }

  /** One line: `what (likely cause); what to do [CODE]`. */
  format(): string {
    const likely = this.likely === undefined ? '' : ` (${this.likely})`;
    const remedy = this.remedy === undefined ? '' : `; ${this.remedy}`;
    return `${this.message}${likely}${remedy} [${this.code}]`;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error (`ECONNREFUSED`), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
