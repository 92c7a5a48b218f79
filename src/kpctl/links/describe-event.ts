import type { LinkEvent } from './pod-link.ts';
import { describeHolder } from './pod-link.ts';

/** A link's event as a line for people. */
export function describeLinkEvent(pod: string, event: LinkEvent): string {
  switch (event.kind) {
    case 'joined':
      return `${pod}: a new pod; its port ${event.port} is claimed`;
    case 'lost':
      return `${pod}: the tunnel was lost (${event.cause}), open connections were reset; reconnecting`;
    case 'retrying':
      return `${pod}: not connected yet, trying on: ${event.cause}`;
    case 'reconnected':
      return `${pod}: reconnected`;
    case 'claimed-again':
      return `${pod}: port ${event.port} is claimed again`;
    case 'claim-taken':
      return `${pod}: port ${event.port} was claimed meanwhile by ${describeHolder(event.holder)}; waiting until it is free`;
    case 'claim-failed':
      return `${pod}: port ${event.port} could not be claimed again: ${event.cause}`;
    case 'gone':
      return `${pod}: the pod is gone`;
  }
}
