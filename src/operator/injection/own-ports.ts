import { ports } from '../../platform/ports.ts';

const named: ReadonlySet<number> = new Set(Object.values(ports));

/** Whether `port` is one of those that kpeering keeps for itself in a pod: the table of docs/ports.md. */
export function isOwnPort(port: number): boolean {
  return (
    named.has(port) || (ports.firstAlias <= port && port <= ports.lastAlias) || (ports.firstListener <= port && port <= ports.lastListener)
  );
}
