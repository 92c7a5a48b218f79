import type { Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { Workload } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { PortMapping } from '../options.ts';
import type { Questions } from '../questions.ts';
import type { Terminal } from '../terminal.ts';

/** What makes a workload's pods ready to be intercepted is given. `signal` is Ctrl-C: a preparation that is given up leaves nothing half done. */
export interface PreparationContext extends AbortOptions {
  readonly cluster: Cluster;
  readonly workload: Workload;
  readonly terminal: Terminal;
  readonly questions: Questions;
  /** `--yes`: nothing is asked. */
  readonly yes: boolean;
  /** What `--port` names. */
  readonly ports: readonly PortMapping[];
  /** `--image`, of the ephemeral container. */
  readonly image: string | undefined;
}

/** What was prepared, until it is closed: that is when the intercept has ended. */
export interface Preparation extends Closeable {
  /**
   * For a pod that has come later and is ready without a sidecar: gives it one, and resolves when it runs. Absent: nothing
   * can be done. A Failure says why this pod cannot have one.
   */
  admit?(pod: Pod, options?: AbortOptions): Promise<void>;
  /** Aborts, with a Failure as its reason, when what was prepared has ended by itself: the intercept is to end, too. */
  readonly lost?: AbortSignal;
}

/** Nothing had to be prepared. */
export const nothingPrepared: Preparation = { close: async () => {}, [Symbol.asyncDispose]: async () => {} };

/**
 * Goes on when the user has agreed: by `--yes`, or at the terminal. `what` is a sentence about what will happen: "this restarts 3 pods".
 * Failures: CONFIRMATION_REQUIRED (exit code 2: nobody can be asked), DECLINED.
 */
export async function confirm(
  { questions, yes, signal }: Pick<PreparationContext, 'questions' | 'yes' | 'signal'>,
  what: string,
): Promise<void> {
  if (yes) return;
  if (!questions.interactive) {
    throw new Failure('CONFIRMATION_REQUIRED', `${what}, and there is no terminal to ask at`, {
      remedy: 'agree with --yes',
      exitCode: ExitCode.usage,
    });
  }
  const answer = await questions.ask(`${what}. Go on? [y/N] `, signal === undefined ? {} : { signal });
  if (!/^y(es)?$/i.test(answer)) throw new Failure('DECLINED', 'nothing was changed: the question was not answered with yes');
}
