import type { OpenIDConnectAuth } from '@kubernetes/client-node/dist/oidc_auth.js';
import { Failure, messageOf } from '../platform/errors.ts';
import type { CredentialSource } from './credential.ts';

/** Renew a token that will have expired by the time it arrives. */
const SKEW_SECONDS = 10;

/**
 * The `oidc` auth provider: the id token of the kubeconfig while it is valid, then client-node's own refresh, loaded only
 * then, because openid-client and what it brings cost 0.7 s. A new token is kept in memory, not written to the kubeconfig.
 */
export function oidcCredentials(config: Record<string, string>): CredentialSource {
  const provider = { name: 'oidc', config: { ...config } };
  let authenticator: OpenIDConnectAuth | undefined;
  return {
    current: async () => {
      const token = provider.config['id-token'];
      if (authenticator === undefined && token !== undefined && expiryOf(token) > Date.now() / 1000 + SKEW_SECONDS) {
        return { authorization: `Bearer ${token}` };
      }
      try {
        if (authenticator === undefined) {
          const { OpenIDConnectAuth } = await import('@kubernetes/client-node/dist/oidc_auth.js');
          authenticator = new OpenIDConnectAuth();
        }
        const headers: Record<string, string> = {};
        await authenticator.applyAuthentication({ name: 'oidc', authProvider: provider }, { headers });
        const authorization = headers['Authorization'];
        if (authorization !== undefined) return { authorization };
      } catch (error) {
        throw oidcFailure(messageOf(error), error);
      }
      throw oidcFailure('the kubeconfig has no refresh-token, client-id and idp-issuer-url to renew it with', undefined);
    },
    rejected: () => false,
  };
}

function oidcFailure(reason: string, cause: unknown): Failure {
  return new Failure('API_UNAUTHORIZED', `the OpenID Connect token has expired and could not be renewed: ${reason}`, {
    remedy: 'log in again as your identity provider asks you to',
    cause,
  });
}

/** The `exp` of a JSON Web Token (RFC 7519 section 4.1.4), in seconds; 0 where there is none. */
function expiryOf(token: string): number {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const exp: unknown = typeof payload === 'object' && payload !== null ? Reflect.get(payload, 'exp') : undefined;
    return typeof exp === 'number' ? exp : 0;
  } catch {
    return 0;
  }
}
