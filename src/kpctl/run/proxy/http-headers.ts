/** The target of a request in absolute form (RFC 9112, section 3.2.2). */
export interface Target {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** As the Host header has it. */
  readonly authority: string;
  /** Path and query, as they came. */
  readonly path: string;
}

/** Reads `http://host[:port]/path?query`; undefined for anything else. A user in it is left out: clients send him in a header. */
export function parseTarget(url: string): Target | undefined {
  const matched = /^http:\/\/(?:[^/?#@]*@)?([^/?#]*)([^#]*)/i.exec(url);
  if (matched === null) return undefined;
  const [, authority = '', rest = ''] = matched;
  const where = parseAuthority(authority, 80);
  if (where === undefined) return undefined;
  return { ...where, authority, path: rest.startsWith('/') ? rest : `/${rest}` };
}

/** Reads `host:port`, with an IPv6 address in brackets; without a port `defaultPort` counts. */
export function parseAuthority(text: string, defaultPort?: number): { readonly host: string; readonly port: number } | undefined {
  const matched = /^(?:\[([0-9a-f:.%]+)\]|([^:[\]\s]+))(?::(\d{0,5}))?$/i.exec(text);
  if (matched === null) return undefined;
  const [, six, name, digits = ''] = matched;
  const port = digits === '' ? defaultPort : Number(digits);
  const host = six ?? name ?? '';
  return port === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

/** Of one hop only (RFC 9110, section 7.6.1), and what only old clients send. */
const hopByHop = new Set(['connection', 'proxy-connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'upgrade']);

/** How long a body is must be passed on with the body, whatever Connection names: else its rest would be read as the next message. */
const framing = new Set(['content-length', 'transfer-encoding']);

/** Name and value, name and value, as Node's `rawHeaders`; what is of this hop only, and what Connection names, is left out. */
function* kept(raw: readonly string[], also: readonly string[]): Generator<readonly [string, string]> {
  const named = new Set(also);
  for (const [name, value] of pairs(raw)) {
    if (name.toLowerCase() === 'connection') {
      for (const token of value.split(',').map((one) => one.trim().toLowerCase())) if (!framing.has(token)) named.add(token);
    }
  }
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase();
    if (!hopByHop.has(lower) && !named.has(lower)) yield [name, value];
  }
}

function* pairs(raw: readonly string[]): Generator<readonly [string, string]> {
  for (let index = 0; index + 1 < raw.length; index += 2) yield [raw[index] ?? '', raw[index + 1] ?? ''];
}

export interface ForwardedRequest {
  readonly method: string;
  readonly rawHeaders: readonly string[];
  readonly target: Target;
  /** The protocol to change to; undefined: none. */
  readonly upgrade?: string | undefined;
  /** For this machine's own proxy, behind which the destination is. */
  readonly proxyAuthorization?: string | undefined;
}

/** The headers of the request that is passed on, as it came in name, order and case but for what is of one hop only. */
export function requestHeaders({ method, rawHeaders, target, upgrade, proxyAuthorization }: ForwardedRequest): string[] {
  const headers = ['Host', target.authority];
  let framed = false;
  for (const [name, value] of kept(rawHeaders, ['host'])) {
    framed ||= /^(content-length|transfer-encoding)$/i.test(name);
    headers.push(name, value);
  }
  if (!framed && /^(post|put|patch)$/i.test(method)) headers.push('Content-Length', '0');
  if (proxyAuthorization !== undefined) headers.push('Proxy-Authorization', proxyAuthorization);
  if (upgrade === undefined) headers.push('Connection', 'keep-alive');
  else headers.push('Connection', 'Upgrade', 'Upgrade', upgrade);
  return headers;
}

/** The headers of the answer that is passed on. Its body is framed anew, as the client's version of HTTP allows. */
export function answerHeaders(raw: readonly string[]): string[] {
  return [...kept(raw, ['transfer-encoding'])].flat();
}

/** The head of an answer as bytes, for a socket that no HTTP server owns any more. */
export function answerHead(status: number, phrase: string, headers: readonly string[]): string {
  const lines = [...pairs(headers)].map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${phrase}\r\n${lines.join('')}\r\n`;
}

/** Trailers of an answer as Node takes them. */
export function trailerPairs(raw: readonly string[]): [string, string][] {
  return [...pairs(raw)].map(([name, value]) => [name, value]);
}
