import type { Registry } from 'prom-client';
import type { Cluster } from '../cluster/types.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import type { OperatorSettings } from './settings.ts';

/** What a task of the leader works with. */
export interface LeaderContext {
  /** As the operator's service account; the task does not close it. */
  readonly cluster: Cluster;
  readonly log: Logger;
  readonly settings: OperatorSettings;
  /**
   * Of this term as leader only: what a task registers there is told by `/metrics` while the term lasts, and the next term begins with an
   * empty one.
   */
  readonly metrics: Registry;
  /** The operator's own namespace: `kpeering-system`. */
  readonly namespace: string;
}

/** Work that only one replica of the operator does at a time: the one that holds the Lease. Listed in leader-tasks.ts. */
export interface LeaderTask {
  /** For the log: `certificate`. */
  readonly name: string;
  /**
   * Called when this replica has become the leader; what it answers is closed when the term ends: the Lease is lost, or the operator stops.
   * Closing must not wait for the API server, since the Lease may have been lost together with it. A start that throws is logged and made again,
   * with back-off, while the term lasts; the other tasks go on.
   */
  start(context: LeaderContext): Closeable | Promise<Closeable>;
}
