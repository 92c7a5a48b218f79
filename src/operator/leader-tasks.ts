import type { LeaderTask } from './leader-task.ts';
import { captureProofs } from './proof/index.ts';
import { replacements } from './replace/index.ts';

/** What the leader does, beside the webhook's certificate (operator.ts). */
export const leaderTasks: readonly LeaderTask[] = [captureProofs, replacements];
