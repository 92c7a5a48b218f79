import { claimsAnswerSchema, rulesAnswerSchema, type ClaimsAnswer, type RulesAnswer } from '../../claims/messages.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { RequestError, type LocalHello, type Session } from '../../tunnel/index.ts';
import { PodLink, type LinkedPod } from './pod-link.ts';

/** What a sidecar or a gateway says of itself. */
export interface SidecarWords {
  /** Its version: `0.1.0`. */
  readonly software: string;
  /** Undefined: it is of a release that does not say it, or a gateway. */
  readonly rules: RulesAnswer | undefined;
  readonly claims: ClaimsAnswer['claims'];
}

/** Asks one pod by a session that claims nothing, and ends it. Rejects as `PodLink.connect` does, and with a ZodError for an answer that is not understood. */
export async function askSidecar(
  cluster: Cluster,
  hello: LocalHello,
  pod: LinkedPod,
  options: Required<AbortOptions>,
): Promise<SidecarWords> {
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
