import type { Metric, Sample } from './metrics.ts';
import type { UdpCapture, UdpCaptureCounters } from './udp-capture.ts';

/** What `/metrics` tells of captured UDP, by the app's port. */
export function udpMetrics(captures: () => readonly UdpCapture[]): readonly Metric[] {
  const by = (labels: Readonly<Record<string, string>>, read: (counters: UdpCaptureCounters) => number): readonly Sample[] =>
    captures().map((capture) => ({ labels: { port: String(capture.port), ...labels }, value: read(capture.counters) }));
  return [
    {
      name: 'kpeering_udp_associations',
      help: 'UDP associations that go to a laptop now',
      type: 'gauge',
      labels: ['port'],
      value: () => by({}, ({ associations }) => associations),
    },
    {
      name: 'kpeering_udp_associations_opened_total',
      help: 'UDP associations that were opened to a laptop',
      type: 'counter',
      labels: ['port'],
      value: () => by({}, ({ opened }) => opened),
    },
    {
      name: 'kpeering_udp_associations_ended_total',
      help: 'UDP associations that have ended because they were idle, had to make room for a new one, or were refused',
      type: 'counter',
      labels: ['port', 'why'],
      value: () => [
        ...by({ why: 'idle' }, ({ expired }) => expired),
        ...by({ why: 'evicted' }, ({ evicted }) => evicted),
        ...by({ why: 'refused' }, ({ refused }) => refused),
      ],
    },
    {
      name: 'kpeering_udp_datagrams_total',
      help: 'Datagrams of callers that were sent to a laptop, and its answers',
      type: 'counter',
      labels: ['port', 'direction'],
      value: () => [...by({ direction: 'to-laptop' }, ({ sent }) => sent), ...by({ direction: 'from-laptop' }, ({ received }) => received)],
    },
    {
      name: 'kpeering_udp_dropped_total',
      help: 'Captured datagrams that were dropped because the laptop was away or the tunnel slow, and answers that could not be sent',
      type: 'counter',
      labels: ['port', 'direction'],
      value: () => [
        ...by({ direction: 'to-laptop' }, ({ dropped }) => dropped),
        ...by({ direction: 'from-laptop' }, ({ unsent }) => unsent),
      ],
    },
  ];
}
