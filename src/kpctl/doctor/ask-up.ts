import type { AbortOptions } from '../../platform/abort.ts';
import { runningUp } from '../control/client.ts';
import type { UpStatus } from '../control/messages.ts';

/** The user's `kpctl up`, asked once more where it has not answered in time: the doctor itself keeps a machine busy at its start. */
export async function askUp(options: AbortOptions): Promise<UpStatus | undefined> {
  return (await runningUp(options)) ?? (await runningUp(options));
}
