import { z } from 'zod';
import { Failure, messageOf, systemCode } from '../platform/errors.ts';
import { ProxyError } from './proxy.ts';

/** The part of `meta/v1 Status` that errors are made of. */
const statusSchema = z.object({ kind: z.literal('Status'), message: z.string().nullish(), reason: z.string().nullish() });

/** What a request wanted, for messages in the API's own words. */
export interface Intent {
  /** RBAC's verb: `list`. */
  readonly verb: string;
  /** `pods`, `deployments.apps`, `pods/portforward`. */
  readonly resource: string;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

/** `web of deployments.apps in namespace shop`, `pods in all namespaces`. */
function describe(intent: Intent): string {
  const name = intent.name === undefined ? '' : ` "${intent.name}"`;
  return `${intent.resource}${name}${intent.namespace === undefined ? '' : ` in namespace ${intent.namespace}`}`;
}

/** An answer other than what was asked for: the cause of the Failure that it became. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError';
  /** HTTP's. */
  readonly status: number;
  /** Whether the API server wrote it (a `meta/v1 Status`), and not a gateway or proxy in front of it. */
  readonly fromApi: boolean;

  constructor(status: number, fromApi: boolean) {
    super(`HTTP status ${status}${fromApi ? '' : ', and not in the words of an API server'}`);
    this.status = status;
    this.fromApi = fromApi;
  }
}

/**
 * An HTTP answer other than 2xx as a Failure: API_UNAUTHORIZED, API_FORBIDDEN, NOT_FOUND, API_EXISTS, API_CONFLICT, API_EXPIRED,
 * API_INVALID, API_ERROR.
 */
export function failureOfStatus(status: number, body: string, intent: Intent, server: string): Failure {
  const { message: said, reason, fromApi } = statusOf(body);
  const cause = new AnswerError(status, fromApi);
  switch (status) {
    case 401:
      return new Failure(
        'API_UNAUTHORIZED',
        `the API server ${server} does not accept the kubeconfig's credentials (401 ${said || 'Unauthorized'})`,
        {
          likely: 'the token or the certificate has expired, or belongs to another cluster',
          remedy: 'log in again, and try "kubectl get pods" with the same context',
          cause,
        },
      );
    case 403:
      return new Failure('API_FORBIDDEN', said || `the API server forbids to ${intent.verb} ${describe(intent)}`, {
        // a request may need more than one verb: WebSocket's upgrade is a GET, and must be allowed to create, too
        remedy: `ask for the right to ${/ cannot (\w+) resource /.exec(said)?.[1] ?? intent.verb} ${intent.resource}${intent.namespace === undefined ? ' in all namespaces' : ` in namespace ${intent.namespace}`}`,
        cause,
      });
    case 404:
      return new Failure('NOT_FOUND', said || `there is no ${describe(intent)}`, { cause });
    case 409:
      return reason === 'AlreadyExists'
        ? new Failure('API_EXISTS', said || `there is ${describe(intent)} already`, { cause })
        : new Failure('API_CONFLICT', said || `${describe(intent)} was changed by somebody else meanwhile`, { remedy: 'try again', cause });
    case 422:
      return new Failure('API_INVALID', said || `the API server does not accept ${describe(intent)}`, { cause });
    case 410:
      return new Failure('API_EXPIRED', said || 'the API server has forgotten that version of the list', { cause });
    default:
      return new Failure(
        'API_ERROR',
        `the API server answered ${status} to ${intent.verb} ${describe(intent)}${said === '' ? '' : `: ${said}`}`,
        { cause },
      );
  }
}

interface Said {
  readonly message: string;
  readonly reason: string | undefined;
  readonly fromApi: boolean;
}

/** The message and the reason of a Status, else the first line of what was sent (a gateway's page). */
function statusOf(body: string): Said {
  try {
    const { message, reason } = statusSchema.parse(JSON.parse(body));
    return { message: message ?? '', reason: reason ?? undefined, fromApi: true };
  } catch {
    return { message: body.startsWith('<') ? '' : (body.trim().split('\n')[0] ?? '').slice(0, 300), reason: undefined, fromApi: false };
  }
}

/** Codes of OpenSSL's X.509 verification, as Node names them, and of its own check of the name. */
const CERTIFICATE_CODES = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'HOSTNAME_MISMATCH',
  'EPROTO',
]);

/** What the codes of a failed connection mean to a user. */
const CAUSES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: nothing listens there, or a firewall refuses',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  EHOSTUNREACH: 'no route to that host',
  ENETUNREACH: 'no route to that network',
  ENOTFOUND: 'its name cannot be resolved',
  EAI_AGAIN: 'its name cannot be resolved now',
  ETIMEDOUT: 'no answer',
};

/** A connection or request that failed as a Failure: API_TLS or API_UNREACHABLE. Failures, and what an abort threw, stay as they are. */
export function failureOfConnection(error: unknown, server: string, signal: AbortSignal | undefined): unknown {
  if (error instanceof Failure || signal?.aborted === true) return error;
  const code = systemCode(error) ?? '';
  if (CERTIFICATE_CODES.has(code) || /^ERR_(SSL|OSSL|TLS)/.test(code)) {
    return new Failure('API_TLS', `the TLS connection to the API server ${server} failed: ${messageOf(error)}`, {
      likely: tlsCause(code),
      remedy: "check the cluster's certificate-authority and tls-server-name in the kubeconfig",
      cause: error,
    });
  }
  const proxied = error instanceof ProxyError;
  return new Failure(
    'API_UNREACHABLE',
    `the API server ${server} cannot be reached${proxied ? ` through its proxy: ${error.message}` : ''}`,
    {
      likely: proxied ? 'the proxy does not let this connection through' : causeOf(error, code),
      remedy: 'check the network, a VPN, and the server of the context in the kubeconfig',
      cause: error,
    },
  );
}

function causeOf(error: unknown, code: string): string {
  if (error instanceof Error && error.name === 'TimeoutError') return 'no answer in time';
  return CAUSES[code] ?? messageOf(error);
}

function tlsCause(code: string): string {
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'its certificate is for another name';
  if (/^ERR_SSL.*ALERT/.test(code)) return 'the server refused the client certificate or the protocol';
  if (code === 'EPROTO' || /^ERR_(SSL|OSSL)/.test(code)) return 'the server does not speak TLS there, or the client certificate is broken';
  return 'its certificate is not signed by the authority that the kubeconfig names';
}
