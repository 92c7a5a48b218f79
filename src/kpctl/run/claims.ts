import type { Socket as DatagramSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { OwnedStack } from '../../platform/owned.ts';
import type { LocalHello } from '../../tunnel/index.ts';
import type { FlowTable } from '../flows/flow-table.ts';
import { followPods } from '../intercept/follow.ts';
import { Interception } from '../intercept/interception.ts';
import { describeRoute } from '../intercept/routes.ts';
import type { Notices } from '../links/notices.ts';
import type { LinkEvent } from '../links/pod-link.ts';
import { proofAfterJoining, proofBeforeClaims } from '../proof/before-claims.ts';
import type { Terminal } from '../terminal.ts';
import type { Place } from './place.ts';

export interface RunClaims {
  readonly cluster: Cluster;
  readonly hello: LocalHello;
  /** Undefined, or without ports: nothing is claimed. */
  readonly place: Place | undefined;
  /** Whether the pods' capture is proved before. */
  readonly proof: boolean;
  readonly notices: Notices;
  readonly onEvent: (pod: string, event: LinkEvent) => void;
  readonly terminal: Terminal;
  /** A line of progress. */
  readonly say: (line: string) => void;
  readonly flows: FlowTable;
  /** How COMMAND's own server is reached; see `InterceptionOptions`. */
  readonly server: {
    readonly beforeDial?: (localPort: number, signal: AbortSignal) => Promise<void>;
    readonly dial?: (localPort: number, options: AbortOptions) => Promise<Socket>;
    readonly openDatagrams?: () => Promise<DatagramSocket>;
  };
}

/** Claims the ports of `--port`; what is claimed belongs to `stack`. */
export async function startClaims(options: RunClaims, stack: OwnedStack, abort: AbortOptions): Promise<Interception | undefined> {
  const { cluster, hello, place, proof, notices, onEvent, terminal, say, flows, server } = options;
  if (place === undefined || place.ports.mappings.length === 0) return undefined;
  const { workload, ports, prepared } = place;
  const proofs = { cluster, hello, terminal: { ...terminal, progress: say } };
  const interception = stack.use(
    await Interception.start(
      {
        cluster,
        hello,
        pods: ports.pods,
        notices,
        onEvent,
        ...(proof && { beforeClaims: proofBeforeClaims({ ...proofs, pods: ports.pods }), afterJoining: proofAfterJoining(proofs) }),
        ...server,
        flows,
      },
      abort,
    ),
  );
  stack.use(followPods({ cluster, workload, ports, interception, prepared, warn: (line) => terminal.warn(line) }));
  for (const { pod, routes } of ports.pods) for (const route of routes) say(describeRoute(pod.name, route));
  say('ready');
  return interception;
}
