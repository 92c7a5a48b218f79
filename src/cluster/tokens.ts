import { z } from 'zod';
import type { AbortOptions } from '../platform/abort.ts';
import type { ApiClient } from './api-client.ts';

/** Which token of a service account is wanted (authentication.k8s.io/v1 TokenRequest). */
export interface TokenRequest extends AbortOptions {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Absent: the API server itself. */
  readonly audience?: string;
  /** At least 600. */
  readonly expirationSeconds: number;
}

export interface GrantedToken {
  readonly token: string;
  /** How long it is valid from now on; the API server may allow less than was asked for. */
  readonly expirationSeconds: number;
}

const answerSchema = z.object({
  spec: z.object({ expirationSeconds: z.number().nullish() }),
  status: z.object({ token: z.string() }),
});

/** Makes a token (`create` on serviceaccounts/token). Failures: those of every request, NOT_FOUND where there is no such service account. */
export async function createToken(client: ApiClient, request: TokenRequest): Promise<GrantedToken> {
  const { namespace, serviceAccount, audience, expirationSeconds, signal } = request;
  const answer = await client.json({
    method: 'POST',
    path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(serviceAccount)}/token`,
    body: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { audiences: audience === undefined ? [] : [audience], expirationSeconds },
    },
    intent: { verb: 'create', resource: 'serviceaccounts/token', namespace, name: serviceAccount },
    ...(signal !== undefined && { signal }),
  });
  const { spec, status } = answerSchema.parse(answer);
  return { token: status.token, expirationSeconds: spec.expirationSeconds ?? expirationSeconds };
}
