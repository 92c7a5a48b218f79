import type { PreparationContext } from '../intercept/preparation.ts';

/** What inject and eject work with. */
export type InjectContext = Pick<PreparationContext, 'cluster' | 'terminal' | 'questions' | 'yes' | 'signal'>;

/** How long a rollout is waited for, where the user does not say. */
export const DEFAULT_TIMEOUT_MILLISECONDS = 300_000;
