import type { Refusal, RefusalClass } from './dialler.ts';

/** How each class of a refusal is told: the HTTP status, the error type of Proxy-Status (RFC 9209, section 2.3), the reply of SOCKS5 (RFC 1928, section 6). */
const told: Readonly<Record<RefusalClass, { readonly status: number; readonly type: string; readonly reply: number }>> = {
  refused: { status: 502, type: 'connection_refused', reply: 5 },
  unreachable: { status: 502, type: 'destination_ip_unroutable', reply: 4 },
  timeout: { status: 504, type: 'connection_timeout', reply: 6 },
  denied: { status: 502, type: 'destination_ip_prohibited', reply: 2 },
  unsupported: { status: 502, type: 'destination_ip_unroutable', reply: 8 },
  failed: { status: 502, type: 'destination_unavailable', reply: 1 },
  name: { status: 502, type: 'dns_error', reply: 4 },
  'name-timeout': { status: 504, type: 'dns_timeout', reply: 1 },
  lost: { status: 502, type: 'proxy_internal_error', reply: 3 },
  aborted: { status: 502, type: 'connection_terminated', reply: 1 },
};

const phrases: Readonly<Record<number, string>> = { 502: 'Bad Gateway', 504: 'Gateway Timeout' };

/** An HTTP answer that the proxy gives by itself. */
export interface OwnAnswer {
  readonly status: number;
  readonly phrase: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

export function refusedAnswer({ refusal, message }: Refusal): OwnAnswer {
  const { status, type } = told[refusal];
  return ownAnswer(status, phrases[status] ?? 'Error', message, [['Proxy-Status', `kpctl; error=${type}`]]);
}

export function socksReply({ refusal }: Refusal): number {
  return told[refusal].reply;
}

export function ownAnswer(
  status: number,
  phrase: string,
  message: string,
  headers: readonly (readonly [string, string])[] = [],
): OwnAnswer {
  const body = `kpctl: ${message}\n`;
  return {
    status,
    phrase,
    headers: [...headers, ['Content-Type', 'text/plain; charset=utf-8'], ['Content-Length', String(Buffer.byteLength(body))]],
    body,
  };
}

export const unauthorized: OwnAnswer = ownAnswer(407, 'Proxy Authentication Required', "this proxy is a kpctl's, for its command only", [
  ['Proxy-Authenticate', 'Basic realm="kpctl"'],
]);

/** The answer as bytes, for a socket that no HTTP server owns any more. */
export function answerText({ status, phrase, headers, body }: OwnAnswer): string {
  const lines = [...headers, ['Connection', 'close'] as const].map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${phrase}\r\n${lines.join('')}\r\n${body}`;
}
