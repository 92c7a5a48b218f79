import { z } from 'zod';
import { RequestError } from '../tunnel/errors.ts';
import type { ClaimSession, ClaimTable } from './claim-table.ts';
import { claimParametersSchema, releaseParametersSchema } from './messages.ts';

/**
 * Answers the requests of a laptop's session about claims: `claim`, `release` and `claims` (messages.ts). Throws
 * RequestError `held`, `bad-parameters` or `unknown-method`.
 */
export function answerClaimRequest(table: ClaimTable, session: ClaimSession, method: string, parameters: unknown): unknown {
  switch (method) {
    case 'claim':
      return table.claim(session, parse(claimParametersSchema, method, parameters).port);
    case 'release':
      table.release(session, parse(releaseParametersSchema, method, parameters).port);
      return {};
    case 'claims':
      return table.list();
    default:
      throw new RequestError('unknown-method', `there is no request "${method}" in this version`);
  }
}

function parse<T>(schema: z.ZodType<T>, method: string, parameters: unknown): T {
  const parsed = schema.safeParse(parameters);
  if (!parsed.success) throw new RequestError('bad-parameters', `${method}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}
