import { createLogger } from '../../platform/log.ts';
import { OwnedStack } from '../../platform/owned.ts';
import type { EnvironmentOverrides } from '../../simulator/environment/index.ts';
import type { Interruption } from '../interruption.ts';
import type { ClusterOptions } from '../options.ts';
import type { Terminal } from '../terminal.ts';
import { EarlyNetwork } from './early-network.ts';
import type { PlaceRequest } from './place.ts';

export interface RunRequest extends PlaceRequest {
  readonly argv: readonly string[];
  readonly cluster: ClusterOptions;
  /** Whether the pods' capture is proved before their ports are claimed. */
  readonly proof: boolean;
  readonly environment: EnvironmentOverrides;
  /** Called when all is ready, directly before COMMAND starts. */
  readonly onStart?: () => void;
}

/**
 * Runs a command in a private network whose cluster traffic goes through the tunnel, and answers its exit code. Resources
 * are closed in the opposite order of their making, also when a later one cannot be made. The network's own process starts first, on another
 * processor, while this one loads what speaks to the cluster and asks it.
 */
export async function runInCluster(request: RunRequest, terminal: Terminal, interruption: Interruption): Promise<number> {
  const interrupted = interruption.listen();
  const abort = { signal: interrupted };
  const log = createLogger('kpctl', process.env['KPEERING_LOG'] ?? 'warn');
  await using stack = new OwnedStack();
  const early = stack.use(new EarlyNetwork({ terminal, log }, abort));
  const { runJoined } = await import('./run-joined.ts');
  return await runJoined(request, { terminal, interruption, early, stack, log, abort });
}
