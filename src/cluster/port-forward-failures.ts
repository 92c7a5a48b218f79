import { Failure } from '../platform/errors.ts';
import type { PodPort } from './types.ts';

/** What went wrong after the API server had agreed to forward: PORT_FORWARD_FAILED. `text`: the kubelet's, or what happened. */
export function portForwardFailure(target: PodPort, text: string, cause?: unknown): Failure {
  const refused = /connection refused/i.test(text);
  // containerd puts the network namespace's path and the sandbox's id before what happened.
  const happened = text.replace(/^.*inside namespace "[^"]*",? ?/s, '');
  return new Failure('PORT_FORWARD_FAILED', `the port-forward to ${target.namespace}/${target.pod}:${target.port} failed: ${happened}`, {
    ...(refused && { likely: 'nothing listens on that port of the pod' }),
    ...(cause !== undefined && { cause }),
  });
}

/** The server agreed to the protocol, and then it was not spoken: the connection ended, or said something else. The cause of a Failure. */
export class NotSpokenError extends Error {
  override readonly name = 'NotSpokenError';
}
