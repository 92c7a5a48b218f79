import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { ports } from '../platform/ports.ts';
import { TcpStates, tcpSockets } from '../platform/socket-diagnostics.ts';

const PAUSE_MILLISECONDS = 250;
/** Where the kernel does not tell: what is longer than that is cut off. */
const BLIND_MILLISECONDS = 60_000;

const { established, synReceived, finWait1, finWait2, closeWait, lastAck, closing } = TcpStates;
const open = established | synReceived | finWait1 | finWait2 | closeWait | lastAck | closing;

/** Resolves when the kernel has no call any more that was redirected to `ports.outbound`, or `signal` aborts. */
export async function redirectedCallsEnded(signal: AbortSignal, log: Logger): Promise<void> {
  while (!signal.aborted) {
    let left: number;
    try {
      left = tcpSockets(open, ports.outbound).length;
    } catch (error) {
      log.debug({ reason: messageOf(error) }, 'the kernel does not tell of connections');
      await pause(BLIND_MILLISECONDS, undefined, { ref: false, signal }).catch(() => undefined);
      return;
    }
    if (left === 0) return;
    await pause(PAUSE_MILLISECONDS, undefined, { ref: false, signal }).catch(() => undefined);
  }
}
