import { leftovers, owner } from '../../../simulator/machine/owner.ts';
import type { Leftovers, UpOwner } from '../../../simulator/machine/types.ts';
import type { UpStatus } from '../../control/messages.ts';
import { describeJoined } from '../../up/joined.ts';
import { leftoversFailure } from '../../up/take-down.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import { askUp } from '../ask-up.ts';
import type { Examination } from '../examination.ts';
import { failed, ok, problem, warning, type Seen } from '../finding.ts';
import type { Check } from '../run-checks.ts';

/** Where the check finds the machine's `up`. */
export interface UpParts {
  readonly owner: () => UpOwner | undefined;
  readonly leftovers: () => Leftovers | undefined;
  readonly status: (options: AbortOptions) => Promise<UpStatus | undefined>;
}

const system: UpParts = { owner, leftovers, status: askUp };

/** Whether a `kpctl up` has joined this machine, what it captures and how names are joined; and what a killed one has left. */
export function upCheck(
  { owner: ownerOf, leftovers: left, status }: UpParts = system,
  platform: string = process.platform,
): Check<Examination> {
  return {
    id: 'up',
    look: async (_, options) => {
      if (platform !== 'linux') return [];
      const found = left();
      const kept = found === undefined ? [] : [failed('problem', leftoversFailure(found))];
      const running = ownerOf();
      if (running === undefined) return kept.length > 0 ? kept : [ok('no kpctl up has joined this machine, and none has left anything')];
      return [...kept, ...stateOf(running, await status(options))];
    },
  };
}

function stateOf(running: UpOwner, status: UpStatus | undefined): readonly Seen[] {
  const since = running.since.toISOString();
  if (status === undefined) {
    if (running.uid !== process.getuid?.())
      return [ok(`a kpctl up of ${running.name} has joined this machine since ${since}; what it captures only they see`)];
    const fix = 'end it and start it again: kpctl down; sudo kpctl up';
    return [problem(`your kpctl up (process ${running.pid}, since ${since}) does not answer`, fix)];
  }
  const { captured, never } = status.networks;
  const [joined = '', ...others] = describeJoined(status);
  return [
    status.tunnel === 'up'
      ? ok(joined)
      : warning(
          `${joined}, and has no tunnel now (${status.tunnel}): it tries on`,
          'the checks api, transport and operator say what is wrong',
        ),
    ok(`captured: ${captured.join(', ') || 'nothing'}${never.length === 0 ? '' : `; left alone: ${never.join(', ')}`}`),
    // The log's place is no finding.
    ...others.slice(0, -1).map((line) => ok(line)),
  ];
}
