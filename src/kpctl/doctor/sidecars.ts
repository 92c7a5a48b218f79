import { z } from 'zod';
import { claimsAnswerSchema, rulesAnswerSchema, type ClaimsAnswer, type RulesAnswer } from '../../claims/messages.ts';
import type { Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { sidecarOf } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import { ports } from '../../platform/ports.ts';
import { RequestError, type LocalHello, type Session } from '../../tunnel/index.ts';
import { laptopHello } from '../links/identity.ts';
import { PodLink } from '../links/pod-link.ts';
import { readHealthPort } from '../workloads/health-port.ts';

/** What a sidecar said of itself. */
export interface SidecarAnswer {
  readonly pod: Pod;
  /** Undefined: it could not be asked; `why` says why. */
  readonly told:
    | {
        /** Its version: `0.1.0`. */
        readonly software: string;
        /** Undefined: it is of a release that does not say it. */
        readonly rules: RulesAnswer | undefined;
        readonly claims: ClaimsAnswer['claims'];
      }
    | undefined;
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
    for (const pod of queue) answers.set(pod, await askSidecar(cluster, hello, pod, options));
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask));
  return { answers: chosen.flatMap((pod) => answers.get(pod) ?? []), passedOver: running.length - chosen.length };
}

async function askSidecar(cluster: Cluster, hello: LocalHello, pod: Pod, options: Required<AbortOptions>): Promise<SidecarAnswer> {
  const target = { namespace: pod.metadata.namespace ?? cluster.namespace, name: pod.metadata.name };
  const [told, metrics] = await Promise.all([
    tell(cluster, hello, target, options).catch((error: unknown) => whyNot(error, options.signal)),
    readHealthPort(cluster, { ...target, port: ports.health }, '/metrics', options).catch(() => undefined),
  ]);
  return typeof told === 'string' ? { pod, told: undefined, why: told, metrics } : { pod, told, why: undefined, metrics };
}

async function tell(
  cluster: Cluster,
  hello: LocalHello,
  pod: { readonly namespace: string; readonly name: string },
  options: Required<AbortOptions>,
): Promise<NonNullable<SidecarAnswer['told']>> {
  await using link = new PodLink({
    cluster,
    pod,
    hello,
    onIncoming: (stream) => stream.refuse('denied', 'this session only asks'),
    onEvent: () => undefined,
  });
  await link.connect(options);
  const session = await link.whenUp(options);
  if (session === undefined) throw new Error('the pod has gone');
  const [claims, rules] = await Promise.all([session.request('claims', {}, options), rulesOf(session, options)]);
  return { software: session.peer.software, rules, claims: claimsAnswerSchema.parse(claims).claims };
}

async function rulesOf(session: Session, options: Required<AbortOptions>): Promise<RulesAnswer | undefined> {
  try {
    return rulesAnswerSchema.parse(await session.request('rules', {}, options));
  } catch (error) {
    if (error instanceof RequestError && error.code === 'unknown-method') return undefined;
    throw error;
  }
}

function whyNot(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'no answer in time';
  if (error instanceof z.ZodError) return 'its answer is not understood: its version is too different';
  return error instanceof Failure ? `${error.message} [${error.code}]` : messageOf(error);
}
