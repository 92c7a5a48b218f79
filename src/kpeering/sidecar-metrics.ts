import type { FlowEnd } from '../claims/flow-router.ts';
import type { Metric } from './metrics.ts';
import type { UdpCapture } from './udp-capture.ts';
import { udpMetrics } from './udp-metrics.ts';

/** Where a sidecar's numbers are read when somebody asks. */
export interface SidecarNumbers {
  readonly ownPortDials: () => number;
  readonly flows: () => number;
  readonly ended: () => Readonly<Record<FlowEnd, number>>;
  readonly sessions: () => number;
  readonly claims: () => number;
  /** Of an ephemeral one. */
  readonly liveRules?: () => number;
  readonly udp: () => readonly UdpCapture[];
}

/** What `/metrics` tells of a sidecar, beside what every process tells. */
export function sidecarMetrics({ ownPortDials, flows, ended, sessions, claims, liveRules, udp }: SidecarNumbers): readonly Metric[] {
  return [
    {
      name: 'kpeering_own_port_dials_total',
      help: 'Connections that were reset because they were to a port of kpeering itself, or would have looped',
      type: 'counter',
      value: ownPortDials,
    },
    { name: 'kpeering_flows', help: 'Captured connections that have not ended', type: 'gauge', value: flows },
    {
      name: 'kpeering_flows_ended_total',
      help: 'Captured connections that have ended, by where they went',
      type: 'counter',
      labels: ['to'],
      value: () => Object.entries(ended()).map(([to, value]) => ({ labels: { to }, value })),
    },
    { name: 'kpeering_sessions', help: "Laptops' tunnels that are connected", type: 'gauge', value: sessions },
    { name: 'kpeering_claims', help: 'What is claimed', type: 'gauge', value: claims },
    ...(liveRules === undefined
      ? []
      : [
          {
            name: 'kpeering_live_rules',
            help: 'What an ephemeral kpeering has a rule for now: claimed ports and addresses, and the proof of the capture',
            type: 'gauge',
            value: liveRules,
          } as const,
        ]),
    ...udpMetrics(udp),
  ];
}
