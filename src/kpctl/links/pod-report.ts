import type { StatusReport } from '../control/messages.ts';
import type { LinkState, PodLink } from './pod-link.ts';

/** What `kpctl status` shows of each link. */
export function podReports(links: readonly PodLink[]): StatusReport['pods'] {
  return links.map((link) => ({
    name: link.pod.name,
    namespace: link.pod.namespace,
    tunnel: tunnelWord(link.state),
    claimed: [...link.held],
    activeFlows: link.activeFlows,
  }));
}

function tunnelWord(state: LinkState): StatusReport['pods'][number]['tunnel'] {
  return state.kind === 'closed' ? 'gone' : state.kind;
}
