import type { Cluster } from '../../cluster/types.ts';
import { dialsForLaptops, workloadLabel, type Workload } from '../../cluster/workloads.ts';
import { newSessionId, type LocalHello } from '../../tunnel/index.ts';
import { Exit } from '../exit/exit.ts';
import { chooseReady } from '../exit/gateway.ts';
import { Gateways } from '../exit/gateways.ts';
import type { Notices } from '../links/notices.ts';
import { PodLink, type LinkEvent } from '../links/pod-link.ts';
import { attachablePods } from '../workloads/attachable.ts';

export interface MakeExitOptions {
  readonly cluster: Cluster;
  /** Absent: flows leave from the gateway. */
  readonly workload: Workload | undefined;
  readonly hello: LocalHello;
  readonly notices: Notices;
  readonly onEvent: (pod: string, event: LinkEvent) => void;
  /** New flows leave from another pod from now on. */
  readonly onMoved?: (from: string, to: string) => void;
}

/** Where the flows of `run` and `up` leave from. It has a session of its own: a session with claims ends, and says goodbye, by itself. */
export function makeExit({ cluster, workload, hello, notices, onEvent, onMoved }: MakeExitOptions): Exit {
  const gateways = new Gateways(cluster);
  return new Exit({
    choose: async (options) => {
      if (workload === undefined) return await gateways.choose(options);
      const pods = await attachablePods(cluster, workload, options);
      const pod = chooseReady(
        pods.filter((one) => dialsForLaptops(one)),
        workload.namespace,
        options,
      );
      if (pod !== undefined) return pod;
      notices.once(
        'outbound-disabled',
        `${workloadLabel(workload)} dials nothing for laptops (kpeering.io/outbound): calls leave from the gateway`,
      );
      return await gateways.choose(options);
    },
    pods: gateways,
    link: (pod, { onEvent: onLinkEvent, onDraining }) =>
      new PodLink({
        cluster,
        pod,
        hello: { ...hello, id: newSessionId() },
        onIncoming: (stream) => stream.refuse('denied', 'this session claims nothing'),
        onEvent: onLinkEvent,
        onDraining,
      }),
    onEvent,
    ...(onMoved !== undefined && { onMoved }),
  });
}

/** What is said of a move. */
export function movedLine(from: string, to: string): string {
  return `new flows leave from ${to}, and no more from ${from}`;
}
