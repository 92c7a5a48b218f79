import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { findProgram } from '../platform/programs.ts';
import { kpeeringGid, ports } from '../platform/ports.ts';
import type { NftSession } from './nft-session.ts';
import { RulesRefused } from './rules-refused.ts';

/** One thing that is captured while somebody wants it. */
export type LiveRule =
  /** From outside to `port` of the pod: to a transparent listener of ours, where it listens, and to the app where it does not. */
  | { readonly kind: 'inbound'; readonly protocol: 'tcp' | 'udp'; readonly port: number; readonly listener: number }
  /** The pod's own TCP calls of an address: to `ports.outbound` on loopback. */
  | { readonly kind: 'outbound'; readonly address: string; readonly port: number };

export interface LiveRulesOptions {
  /** How the rules know our own calls: by a mark, else by our group. */
  readonly mark?: number;
  /** The program; looked up where it is not given. */
  readonly nft?: string;
  readonly log: Logger;
}

/** The table's name, another one than that of `redirect.sh`, which looks after its own. */
export const LIVE_TABLE = 'kpeering_live';

/** When rules that were lost with nft are put back. */
const RETRY_MILLISECONDS = 1_000;

/**
 * The rules of a kpeering that came to a running pod: an nft table that its owner takes with it. As long as something is captured a
 * child process holds it, and no longer; whatever kills us, the kernel removes the table, and the app has its traffic again.
 */
export class LiveRules implements Closeable {
  readonly #options: LiveRulesOptions;
  readonly #wanted = new Map<string, LiveRule>();
  #session: NftSession | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  /** Whether calls are translated, or were and go on. */
  #translating = false;
  readonly #closing = new AbortController();

  constructor(options: LiveRulesOptions) {
    this.#options = options;
  }

  /** How many rules there are. */
  get size(): number {
    return this.#wanted.size;
  }

  /** Resolves when the kernel has the rule. Rejects with RulesRefused. */
  async add(rule: LiveRule): Promise<void> {
    if (this.#closing.signal.aborted) throw new Error('the rules are closed');
    const key = keyOf(rule);
    this.#wanted.set(key, rule);
    if (rule.kind === 'outbound') this.#translating = true;
    try {
      await this.#change();
    } catch (error) {
      if (this.#wanted.get(key) === rule) this.#wanted.delete(key);
      this.#endTranslation();
      // What was there before is there still; if that is nothing, its owner ends.
      await this.#change().catch(() => undefined);
      throw new RulesRefused(`nft: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Resolves when it is gone; with the last one the table and its owner are, too. */
  async remove(rule: LiveRule): Promise<void> {
    if (!this.#wanted.delete(keyOf(rule))) return;
    if (rule.kind === 'outbound' && !this.#redirects()) void this.#endTranslationLater();
    await this.#change();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#retry);
    this.#wanted.clear();
    this.#translating = false;
    await this.#change().catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #redirects(): boolean {
    return [...this.#wanted.values()].some(({ kind }) => kind === 'outbound');
  }

  /** With the last chain of translation the kernel forgets the calls that it has translated: those that are open would be reset. */
  async #endTranslationLater(): Promise<void> {
    const { redirectedCallsEnded } = await import('./redirected-calls-ended.ts');
    await redirectedCallsEnded(this.#closing.signal, this.#options.log);
    if (!this.#translating || this.#redirects()) return;
    this.#endTranslation();
    await this.#change().catch((error: unknown) => this.#options.log.error({ reason: messageOf(error) }, 'the rules could not be changed'));
  }

  #endTranslation(): void {
    if (!this.#redirects()) this.#translating = false;
  }

  /** Makes the kernel's rules those that are wanted, one change after the other. */
  async #change(): Promise<void> {
    const change = this.#queue.then(async () => this.#apply());
    this.#queue = change.catch(() => undefined);
    await change;
  }

  async #apply(): Promise<void> {
    if (this.#wanted.size === 0 && !this.#translating) {
      const session = this.#session;
      this.#session = undefined;
      await session?.close();
      return;
    }
    const session = (this.#session ??= await this.#open());
    await session.run(liveTable([...this.#wanted.values()], { mark: this.#options.mark, ipv6: hasIpv6(), translation: this.#translating }));
  }

  async #open(): Promise<NftSession> {
    const program = this.#options.nft ?? findProgram('nft');
    if (program === undefined) throw new Error('the program nft is missing in the image');
    // With the first rule: child processes take 2 MiB of memory that an idle one does without.
    const code = await import('./nft-session.ts');
    const session = await code.NftSession.start(program);
    void session.ended.then(() => this.#lost(session));
    return session;
  }

  /** Somebody has killed nft: what is claimed has been the app's since. */
  #lost(session: NftSession): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#options.log.warn('nft has ended, and with it the rules: they are put back');
    this.#restore();
  }

  #restore(): void {
    this.#change().catch((error: unknown) => {
      this.#options.log.error({ reason: messageOf(error) }, 'the rules could not be put back');
      if (!this.#closing.signal.aborted) this.#retry = setTimeout(() => this.#restore(), RETRY_MILLISECONDS).unref();
    });
  }
}

export interface TableOptions {
  readonly mark: number | undefined;
  readonly ipv6: boolean;
  /** Whether there is a chain of translation, also without a rule. */
  readonly translation: boolean;
}

/** What makes the table have these rules and no others, as one transaction; of its own process only. */
export function liveTable(rules: readonly LiveRule[], { mark, ipv6, translation }: TableOptions): readonly string[] {
  const inbound = rules.filter((rule) => rule.kind === 'inbound');
  const outbound = rules.filter((rule) => rule.kind === 'outbound');
  const incoming = inbound.flatMap((rule) => transparent(rule, ipv6));
  const answering = inbound.flatMap(answers);
  const ours = mark === undefined ? `meta skgid ${kpeeringGid}` : `meta mark ${mark}`;
  return [
    `table inet ${LIVE_TABLE} { flags owner; }`,
    `delete table inet ${LIVE_TABLE}`,
    `table inet ${LIVE_TABLE} { flags owner; }`,
    ...(incoming.length === 0 ? [] : chain('inbound', 'filter hook prerouting priority mangle', ['iifname "lo" return', ...incoming])),
    ...(answering.length === 0 ? [] : chain('answers', 'filter hook output priority raw', answering)),
    // Only where it is needed: with it the kernel begins to track the pod's connections. The first rule holds it to that also when no other is
    // left: it is the rules, and not the chain, for whose sake it does.
    ...(translation
      ? chain('outbound', 'nat hook output priority -100', [
          'ct state != new return',
          `${ours} return`,
          'oifname "lo" return',
          ...outbound.map(redirected),
        ])
      : []),
  ];
}

/** nft reads one line at a time here: each statement is one. */
function chain(name: string, hook: string, rules: readonly string[]): readonly string[] {
  return [
    `add chain inet ${LIVE_TABLE} ${name} { type ${hook}; policy accept; }`,
    ...rules.map((rule) => `add rule inet ${LIVE_TABLE} ${name} ${rule}`),
  ];
}

/** Without a listener on its port the rule ends there, and the app has the packet. */
function transparent({ protocol, port, listener }: Extract<LiveRule, { kind: 'inbound' }>, ipv6: boolean): readonly string[] {
  return [
    `meta nfproto ipv4 ${protocol} dport ${port} tproxy ip to :${listener} accept`,
    ...(ipv6 ? [`meta nfproto ipv6 ${protocol} dport ${port} tproxy ip6 to :${listener} accept`] : []),
  ];
}

/** As redirect.sh finds it: on where the namespace has an address of it, and lo's counts. */
function hasIpv6(): boolean {
  try {
    return readFileSync('/proc/net/if_inet6', 'utf8') !== '';
  } catch {
    return false;
  }
}

/** Datagrams leave from the port that their caller asked. */
function answers({ protocol, port, listener }: Extract<LiveRule, { kind: 'inbound' }>): readonly string[] {
  return protocol === 'udp' ? [`udp sport ${listener} udp sport set ${port}`] : [];
}

/** Only what begins: a connection from before is new to a conntrack that has begun with this chain, and would be redirected half-way. */
function redirected({ address, port }: Extract<LiveRule, { kind: 'outbound' }>): string {
  return `${isIPv6(address) ? 'ip6' : 'ip'} daddr ${address} tcp dport ${port} tcp flags & (fin|syn|rst|ack) == syn redirect to :${ports.outbound}`;
}

function keyOf(rule: LiveRule): string {
  return Object.values(rule).join(' ');
}
