import { z } from 'zod';
import type { Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { sidecarOf } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import { ports } from '../../platform/ports.ts';
import type { LocalHello } from '../../tunnel/index.ts';
import { askSidecar, type SidecarWords } from '../links/ask-sidecar.ts';
import { laptopHello } from '../links/identity.ts';
import { readHealthPort } from '../workloads/health-port.ts';

/** What a sidecar said of itself. */
export interface SidecarAnswer {
  readonly pod: Pod;
  /** Undefined: it could not be asked; `why` says why. */
  readonly told: SidecarWords | undefined;
  readonly why: string | undefined;
  /** The text of its `/metrics`; undefined where it could not be read. */
  readonly metrics: string | undefined;
}

export interface SidecarAnswers {
  readonly answers: readonly SidecarAnswer[];
  /** Sidecars that were not asked, because there are too many. */
  readonly passedOver: number;
}

/** Sidecars that are asked, and at a time: each costs two connections to the API server. */
const ASKED = 48;
const ASKED_AT_ONCE = 12;

/** Asks the running sidecars of pods, by port-forwards. */
export async function askSidecars(cluster: Cluster, pods: readonly Pod[], options: Required<AbortOptions>): Promise<SidecarAnswers> {
  const running = pods.filter((pod) => sidecarOf(pod) !== undefined);
  const chosen = running.slice(0, ASKED);
  if (chosen.length === 0) return { answers: [], passedOver: 0 };
  const hello = await laptopHello(cluster, options);
  const answers = new Map<Pod, SidecarAnswer>();
  const queue = chosen.values();
  const ask = async (): Promise<void> => {
    for (const pod of queue) answers.set(pod, await answerOf(cluster, hello, pod, options));
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask));
  return { answers: chosen.flatMap((pod) => answers.get(pod) ?? []), passedOver: running.length - chosen.length };
}

async function answerOf(cluster: Cluster, hello: LocalHello, pod: Pod, options: Required<AbortOptions>): Promise<SidecarAnswer> {
  const target = { namespace: pod.metadata.namespace ?? cluster.namespace, name: pod.metadata.name };
  const [told, metrics] = await Promise.all([
    askSidecar(cluster, hello, target, options).catch((error: unknown) => whyNot(error, options.signal)),
    readHealthPort(cluster, { ...target, port: ports.health }, '/metrics', options).catch(() => undefined),
  ]);
  return typeof told === 'string' ? { pod, told: undefined, why: told, metrics } : { pod, told, why: undefined, metrics };
}

function whyNot(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'no answer in time';
  if (error instanceof z.ZodError) return 'its answer is not understood: its version is too different';
  return error instanceof Failure ? `${error.message} [${error.code}]` : messageOf(error);
}
