import type { ClaimTarget } from '../../claims/messages.ts';
import { describeHolder } from './claim-failures.ts';
import type { LinkEvent } from './link-event.ts';
import { targetLabel } from './targets.ts';

/** A link's event as a line for people. */
export function describeLinkEvent(pod: string, event: LinkEvent): string {
  switch (event.kind) {
    case 'joined':
      return `${pod}: a new pod; its ${targetLabel(event.target)} is claimed`;
    case 'claimed-too':
      return `${pod}: ${targetLabel(event.target)} is claimed, too`;
    case 'staying':
      return staying(pod, event.target, event.connections);
    case 'staying-ended':
      return `${pod}: all connections of ${targetLabel(event.target)} that stayed with the app have ended`;
    case 'lost':
      return `${pod}: the tunnel was lost (${event.cause}), open connections were reset; reconnecting`;
    case 'retrying':
      return `${pod}: not connected yet, trying on: ${event.cause}`;
    case 'reconnected':
      return `${pod}: reconnected`;
    case 'claimed-again':
      return `${pod}: ${targetLabel(event.target)} is claimed again`;
    case 'claim-taken':
      return `${pod}: ${targetLabel(event.target)} was claimed meanwhile by ${describeHolder(event.holder)}; waiting until it is free`;
    case 'claim-failed':
      return `${pod}: ${targetLabel(event.target)} could not be claimed: ${event.cause}`;
    case 'gone':
      return event.finished === true ? `${pod}: the pod has ended` : `${pod}: the pod is gone`;
  }
}

function staying(pod: string, target: ClaimTarget, connections: number): string {
  const of = `of ${targetLabel(target)}`;
  if (connections === 1) return `1 established connection ${of} stays with the app in ${pod} until it ends`;
  return `${connections} established connections ${of} stay with the app in ${pod} until they end`;
}

/** A link's event as one flat object for `-o json`: a claim's protocol, port and address are fields of its own. */
export function linkEventFields(pod: string, event: LinkEvent): object {
  const { kind, ...rest } = event;
  if (!('target' in rest)) return { event: kind, pod, ...rest };
  const { target, ...more } = rest;
  return { event: kind, pod, ...target, ...more };
}
