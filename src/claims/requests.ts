import { isIPv6 } from 'node:net';
import { z } from 'zod';
import { RequestError } from '../tunnel/errors.ts';
import type { ClaimSession } from './claim-table.ts';
import {
  claimTargetSchema,
  type ClaimAnswer,
  type ClaimsAnswer,
  type ClaimTarget,
  type ProveAnswer,
  type RulesAnswer,
} from './messages.ts';

/** Who does what is asked for; each throws RequestError. */
export interface RequestHandlers {
  claim(session: ClaimSession, target: ClaimTarget): Promise<ClaimAnswer>;
  release(session: ClaimSession, target: ClaimTarget): void;
  claims(): ClaimsAnswer;
  prove(): Promise<ProveAnswer>;
  rules(): RulesAnswer;
}

/**
 * Answers the requests of a laptop's session about claims (messages.ts). Rejects with RequestError: the handlers' own,
 * `bad-parameters` or `unknown-method`.
 */
export async function answerClaimRequest(
  handlers: RequestHandlers,
  session: ClaimSession,
  method: string,
  parameters: unknown,
): Promise<unknown> {
  switch (method) {
    case 'claim':
      return handlers.claim(session, parseTarget(method, parameters));
    case 'release':
      handlers.release(session, parseTarget(method, parameters));
      return {};
    case 'claims':
      return handlers.claims();
    case 'prove':
      return handlers.prove();
    case 'rules':
      return handlers.rules();
    default:
      throw new RequestError('unknown-method', `there is no request "${method}" in this version`);
  }
}

function parseTarget(method: string, parameters: unknown): ClaimTarget {
  const parsed = claimTargetSchema.safeParse(parameters);
  if (!parsed.success) throw new RequestError('bad-parameters', `${method}: ${z.prettifyError(parsed.error)}`);
  const { protocol, port, address } = parsed.data;
  return address === undefined ? { protocol, port } : { protocol, port, address: canonical(address) };
}

/** An address as the kernel's are written here: URL's host serializer compresses as RFC 5952 says. */
function canonical(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}
