import { lookup as systemLookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { messageOf, systemCode } from '../../../platform/errors.ts';
import { UpstreamError, type Resolve, type Upstream } from '../../../simulator/dns/index.ts';
import { decodeAnswers, encodeAnswer, encodeQuery, errorAnswer, parseQuery, RCODE, TYPE } from '../../../simulator/dns/message.ts';

/** Asks this machine for a name's addresses; rejects with an error that has a `code`. */
export type SystemLookup = (name: string) => Promise<readonly string[]>;

export interface ProxyNamesOptions {
  /** Answers names of the cluster; all others are NXDOMAIN (`nothingOutside`). */
  readonly resolve: Resolve;
  /** A pod's search list, the cluster's part of it. */
  readonly search: readonly string[];
  /** Default: getaddrinfo(3), as this machine's own programs ask. */
  readonly lookup?: SystemLookup;
}

/** Where a name is to be found: `cluster` has its addresses, best first; `laptop` is for this machine to resolve. */
export type FoundName =
  | { readonly kind: 'cluster'; readonly addresses: readonly string[] }
  | { readonly kind: 'laptop'; readonly name: string };

/** A name that nobody knows, or that could not be asked for. */
export class NameError extends Error {
  override readonly name = 'NameError';
  /** `unknown`: there is no such name. `failed`: nobody could tell. */
  readonly kind: 'unknown' | 'failed';

  constructor(kind: 'unknown' | 'failed', message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.kind = kind;
  }
}

/** A pod's `ndots`: a name with fewer dots is tried with the search list first (resolv.conf(5)). */
const NDOTS = 5;
/** CNAMEs that lead from a Service of type ExternalName to another. */
const MOST_ALIASES = 4;

/** Names as a pod resolves them: with its search list, in this process; what is not the cluster's is left to this machine. */
export class ProxyNames {
  readonly #resolve: Resolve;
  readonly #search: readonly string[];
  readonly #lookup: SystemLookup;

  constructor({ resolve, search, lookup = lookupHere }: ProxyNamesOptions) {
    this.#resolve = resolve;
    this.#search = search;
    this.#lookup = lookup;
  }

  /** Whose a name is. Rejects with NameError where the cluster's names cannot be told now. */
  async find(host: string): Promise<FoundName> {
    const absolute = host.endsWith('.');
    const name = absolute ? host.slice(0, -1) : host;
    if (isLocal(name)) return { kind: 'laptop', name };
    return await this.#find(name, absolute, MOST_ALIASES);
  }

  /** The addresses that this machine has for a name. Rejects with NameError. */
  async here(name: string): Promise<readonly string[]> {
    try {
      return await this.#lookup(name);
    } catch (error) {
      const unknown = systemCode(error) === 'ENOTFOUND';
      throw new NameError(unknown ? 'unknown' : 'failed', unknown ? `there is no name ${name}` : messageOf(error), { cause: error });
    }
  }

  async #find(name: string, absolute: boolean, aliases: number): Promise<FoundName> {
    const searched = absolute ? [] : this.#search.map((domain) => `${name}.${domain}`);
    const many = name.split('.').length > NDOTS;
    let unsure = false;
    for (const candidate of many ? [name, ...searched] : [...searched, name]) {
      const answer = await this.#ask(candidate);
      if (answer.kind === 'found') return { kind: 'cluster', addresses: answer.addresses };
      if (answer.kind === 'alias') {
        return aliases === 0 ? { kind: 'laptop', name: answer.target } : await this.#find(answer.target, true, aliases - 1);
      }
      unsure ||= answer.kind === 'unsure';
    }
    if (unsure) throw new NameError('failed', `the cluster's names cannot be told now: ${name}`);
    return { kind: 'laptop', name };
  }

  async #ask(name: string): Promise<Asked> {
    const [four, six] = await Promise.all([this.#query(name, TYPE.A), this.#query(name, TYPE.AAAA)]);
    const addresses = [...four.addresses, ...six.addresses];
    if (addresses.length > 0) return { kind: 'found', addresses };
    const target = four.alias ?? six.alias;
    if (target !== undefined) return { kind: 'alias', target };
    return { kind: four.rcode === RCODE.SERVFAIL && six.rcode === RCODE.SERVFAIL ? 'unsure' : 'none' };
  }

  async #query(name: string, type: number): Promise<Answered> {
    const nothing = { rcode: RCODE.NXDOMAIN, addresses: [], alias: undefined };
    // Longer ones are no names (RFC 1035 section 2.3.4).
    if (name.length > 253 || name.split('.').some((label) => label === '' || label.length > 63)) return nothing;
    const parsed = parseQuery(encodeQuery(0, name, type), 'tcp');
    if (parsed.kind !== 'query') return nothing;
    const { rcode, answers } = decodeAnswers(await this.#resolve(parsed.query));
    if (rcode !== RCODE.NOERROR) return { rcode, addresses: [], alias: undefined };
    return {
      rcode,
      addresses: answers.flatMap((record) => (record.type === type && record.address !== undefined ? [record.address] : [])),
      alias: answers.findLast((record) => record.type === TYPE.CNAME)?.domain,
    };
  }
}

type Asked =
  | { readonly kind: 'found'; readonly addresses: readonly string[] }
  | { readonly kind: 'alias'; readonly target: string }
  | { readonly kind: 'none' | 'unsure' };

interface Answered {
  readonly rcode: number;
  readonly addresses: readonly string[];
  readonly alias: string | undefined;
}

/** Names that are this machine's own wherever they are asked for (RFC 6761 section 6.3). */
function isLocal(name: string): boolean {
  return isIP(name) !== 0 || /(^|\.)localhost$/i.test(name);
}

async function lookupHere(name: string): Promise<string[]> {
  return (await systemLookup(name, { all: true })).map(({ address }) => address);
}

/** For the resolver in the place of name servers of the outside, which are not asked for it: there is no such name. */
export const nothingOutside: Upstream = {
  query: async (message, transport) => {
    const parsed = parseQuery(message, transport);
    if (parsed.kind === 'query') return encodeAnswer(parsed.query, errorAnswer(RCODE.NXDOMAIN));
    if (parsed.kind === 'error') return parsed.reply;
    throw new UpstreamError('this is no query');
  },
};
