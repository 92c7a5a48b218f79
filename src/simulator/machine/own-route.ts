import { machineAddresses, routing } from './addresses.ts';

const tables: ReadonlySet<number> = new Set([routing.listenerTable, routing.networksTable]);

/** Whether a route of this machine is one of `kpctl up`'s own: no local network that captured ones could overlap. */
export function isOwnRoute({ device, table }: { readonly device?: string; readonly table: number }): boolean {
  return device === machineAddresses.device || tables.has(table);
}
