import { ExitCode, Failure } from '../../platform/errors.ts';
import { requireLinux } from '../../platform/linux.ts';
import type { Interruption } from '../interruption.ts';
import { Progress } from '../terminal-progress.ts';
import type { Terminal } from '../terminal.ts';
import type { RunRequest } from './run-in-cluster.ts';

/** How COMMAND gets into the cluster: `auto` is `network` on Linux, and `proxy` where there are no network namespaces. */
export const runModes = ['auto', 'network', 'proxy'] as const;
export type RunMode = (typeof runModes)[number];

/** What stands in the way of a network of COMMAND's own on this machine. */
const needsNamespaces = new Set([
  'USER_NAMESPACES_FORBIDDEN',
  'NAMESPACES_FORBIDDEN',
  'KERNEL_FEATURE_MISSING',
  'PRIVATE_NETWORK_FAILED',
  'PROGRAM_MISSING',
  'PROGRAM_TOO_OLD',
]);

/**
 * Runs COMMAND and answers its exit code. On Linux `auto` never becomes `proxy` by itself: a command would then run, and be in the cluster with
 * a part of its connections only. Each mode's code is loaded when it is asked for: that of `network` needs Linux.
 */
export async function run(mode: RunMode, request: RunRequest, terminal: Terminal, interruption: Interruption): Promise<number> {
  // On a terminal, and where a workload is prepared its own steps are told.
  using starting =
    terminal.live === undefined || request.workload !== undefined ? undefined : new Progress(terminal, 'kpctl: connecting to the cluster');
  return await runIn(mode, { ...request, onStart: () => starting?.done() }, terminal, interruption);
}

async function runIn(mode: RunMode, request: RunRequest, terminal: Terminal, interruption: Interruption): Promise<number> {
  const { platform } = process;
  if (mode === 'proxy' || (mode === 'auto' && platform !== 'linux')) {
    terminal.progress(
      `kpctl: ${mode === 'proxy' ? '--mode proxy' : `this is ${platform}, so that --mode is proxy`}: only what uses HTTP_PROXY, HTTPS_PROXY or ALL_PROXY reaches the cluster (kpctl help proxy-mode)`,
    );
    const { runWithProxy } = await import('./proxy/run-with-proxy.ts');
    return await runWithProxy(request, terminal, interruption);
  }
  requireLinux('run --mode network', {
    remedy: 'use --mode proxy, for programs that can use a proxy (kpctl help proxy-mode)',
    exitCode: ExitCode.kpctlFailed,
  });
  const { runInCluster } = await import('./run-in-cluster.ts');
  try {
    return await runInCluster(request, terminal, interruption);
  } catch (error) {
    throw namingProxyMode(error);
  }
}

/** The failure with the other mode as a way out, where this machine does not allow the network. */
function namingProxyMode(error: unknown): unknown {
  if (!(error instanceof Failure) || !needsNamespaces.has(error.code)) return error;
  const { code, message, likely, remedy, exitCode, cause } = error;
  const other = 'use --mode proxy, which needs no namespaces (kpctl help proxy-mode says what it cannot do)';
  return new Failure(code, message, {
    ...(likely !== undefined && { likely }),
    remedy: remedy === undefined ? other : `${other}; or ${remedy}`,
    exitCode,
    cause,
  });
}
