import { Failure } from '../../platform/errors.ts';
import { owner } from './owner.ts';

/** What a second `kpctl up` fails with: it says who has the first. */
export function upRunning(): Failure {
  const found = owner();
  const who = found === undefined ? '' : `: ${found.name} has, since ${found.since.toISOString()} (process ${found.pid})`;
  return new Failure('UP_RUNNING', `this machine has joined a cluster already${who}`, {
    likely: 'one "kpctl up" at a time can have the network and the names of a machine',
    remedy:
      'run "kpctl status" to see it, "kpctl down" to end it ("sudo kpctl down" when it is another user\'s); join single commands with kpctl run -- COMMAND',
  });
}
