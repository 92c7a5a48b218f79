import { readFileSync } from 'node:fs';
import { Failure } from '../platform/errors.ts';
import type { ClientCertificate, Credential, CredentialSource } from './credential.ts';
import { execCredentials } from './exec-plugin.ts';
import type { UserConfig } from './kubeconfig-schema.ts';
import type { ContextSettings } from './kubeconfig-schema.ts';
import { oidcCredentials } from './oidc.ts';
import { fileFailure, pem } from './pem.ts';

/** Tokens are projected into files and renewed there; client-go reads them again after a minute at most. */
const TOKEN_FILE_MILLISECONDS = 60_000;

/**
 * The credentials of a kubeconfig's user, in kubectl's order: a token (file) or a user name before an exec plugin or
 * an auth provider; a client certificate beside any of them.
 */
export function credentialSource(settings: ContextSettings): CredentialSource {
  const { user } = settings;
  const certificate = clientCertificate(user);
  const bearer = bearerSource(settings);
  return {
    current: async (options) => {
      const credential = await bearer.current(options);
      return certificate === undefined ? credential : { certificate, ...credential };
    },
    rejected: (credential) => bearer.rejected(credential),
  };
}

function bearerSource(settings: ContextSettings): CredentialSource {
  const { user } = settings;
  if (user.tokenFile !== undefined) return tokenFileSource(user.tokenFile, user.token);
  if (user.token !== undefined) return fixedSource({ authorization: `Bearer ${user.token}` });
  if (user.username !== undefined) {
    return fixedSource({ authorization: `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}` });
  }
  if (user.exec != null) return execCredentials(user.exec, settings);
  const provider = user['auth-provider'];
  if (provider != null) {
    if (provider.name === 'oidc') return oidcCredentials(provider.config);
    throw new Failure('AUTH_PROVIDER_UNSUPPORTED', `the kubeconfig uses the auth provider "${provider.name}"`, {
      likely: 'Kubernetes 1.26 removed all of them but oidc',
      remedy: `replace it by its exec plugin, as in "gke-gcloud-auth-plugin" or "kubelogin"`,
    });
  }
  return fixedSource({});
}

function fixedSource(credential: Credential): CredentialSource {
  return { current: () => Promise.resolve(credential), rejected: () => false };
}

function tokenFileSource(file: string, fallback: string | undefined): CredentialSource {
  let cached: { readonly credential: Credential; readonly readAt: number } | undefined;
  const read = (): Credential => {
    let token = fallback;
    try {
      token = readFileSync(file, 'utf8').trim();
    } catch (error) {
      if (token === undefined) throw fileFailure('token file', file, error);
    }
    return { authorization: `Bearer ${token ?? ''}` };
  };
  return {
    current: async () => {
      if (cached === undefined || performance.now() - cached.readAt > TOKEN_FILE_MILLISECONDS) {
        cached = { credential: read(), readAt: performance.now() };
      }
      return await Promise.resolve(cached.credential);
    },
    rejected: (credential) => {
      cached = undefined;
      try {
        return read().authorization !== credential.authorization;
      } catch {
        return false;
      }
    },
  };
}

/** The data wins over the file (client-go, AuthInfo). */
function clientCertificate(user: UserConfig): ClientCertificate | undefined {
  const cert = pem(user['client-certificate-data'], user['client-certificate'], 'client certificate');
  const key = pem(user['client-key-data'], user['client-key'], 'client key');
  return cert === undefined || key === undefined ? undefined : { cert, key };
}
