import type { Route } from '../../platform/routes.ts';
import { machineAddresses, routing } from '../../simulator/machine/addresses.ts';

/** Whether a route is one that `up` itself has made. */
export function isOwnRoute({ device, table }: Pick<Route, 'device' | 'table'>): boolean {
  return device === machineAddresses.device || table === routing.networksTable || table === routing.listenerTable;
}
