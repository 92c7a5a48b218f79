import type { SpliceEnd } from '../../forwarder/index.ts';

/** Why a spliced flow did not end by itself; undefined: both sides had said all that they had to say. */
export function whyEnded(end: SpliceEnd): string | undefined {
  switch (end.kind) {
    case 'finished':
      return undefined;
    case 'socket-failed':
      return 'reset by the program';
    case 'stream-reset':
      return end.reason === 'peer' ? 'reset by the far end' : 'reset: the tunnel was lost';
    case 'other-failed':
      return 'reset by the far end';
  }
}
