import { isIPv6 } from 'node:net';
import type { Endpoint } from '../../tunnel/types.ts';
import type { AssociationHandler } from '../datagrams/captured.ts';

/** The resolver has no IPv6 address: a question to one is refused, and told once. */
export function namesRefused(onAssociation: AssociationHandler, onRefused: (destination: Endpoint) => void): AssociationHandler {
  const told = new Set<string>();
  return (flow) => {
    const { address, port } = flow.destination;
    if (port !== 53 || !isIPv6(address)) return onAssociation(flow);
    if (!told.has(address)) onRefused(flow.destination);
    told.add(address);
    return {
      id: 0,
      attach: (sink) =>
        queueMicrotask(() => sink.closed({ kind: 'refused', errorClass: 'denied', message: 'names are not answered over IPv6' })),
      send: () => false,
      close: () => undefined,
    };
  };
}
