import { isIPv4, isIPv6 } from 'node:net';
import type { Closeable } from '../../../platform/owned.ts';
import { kpeeringGid } from '../../../platform/ports.ts';
import { findProgram } from '../../../platform/programs.ts';
import type { NamesPlan } from '../types.ts';
import { OwnedRules } from './owned-rules.ts';
import { ownNames, sameOwn } from './own-servers.ts';
import { behindOf, readText, resolvConfPath } from './surroundings.ts';
import type { Integration, IntegrationContext, OwnNames } from './types.ts';
import { watchChanges } from './watch.ts';

const table = 'inet kpctl-names';

/**
 * For machines whose resolv.conf cannot be changed: what any user but ourselves asks of the servers in it, by UDP or TCP, arrives at us. Search
 * domains stay the machine's: short names are answered as they are asked. Nothing has to be undone: the kernel removes the rules with their owner.
 */
export class NftIntegration implements Integration {
  readonly kind = 'nft';
  readonly #context: IntegrationContext;
  #rules: OwnedRules | undefined;
  #own: OwnNames = { servers: [], search: [] };
  #watch: Closeable | undefined;

  constructor(context: IntegrationContext) {
    this.#context = context;
  }

  detect(): boolean {
    return findProgram('nft') !== undefined;
  }

  async apply(_plan: NamesPlan): Promise<OwnNames> {
    this.#own = this.#read();
    await this.#set();
    this.#watch = watchChanges({
      files: [resolvConfPath, behindOf(resolvConfPath)],
      check: () => this.#check(),
      onError: (error) => this.#context.log.warn({ err: error }, 'the redirection of names could not be looked after'),
    });
    return this.#own;
  }

  async update(_plan: NamesPlan): Promise<void> {
    await this.#check();
  }

  async undo(): Promise<void> {
    const [watch, rules] = [this.#watch, this.#rules];
    this.#watch = undefined;
    this.#rules = undefined;
    await watch?.close();
    await rules?.close();
  }

  /** Rules whose owner was killed are made anew. */
  async #set(): Promise<void> {
    const running = this.#rules?.running === true ? this.#rules : undefined;
    const rules = running ?? new OwnedRules();
    this.#rules = rules;
    if (running === undefined) await rules.execute(this.#commands());
    const addresses = this.#own.servers.map(({ address }) => address);
    await rules.execute([
      `flush set ${table} servers`,
      `flush set ${table} servers6`,
      ...addresses.filter(isIPv4).map((address) => `add element ${table} servers { ${address} }`),
      // A scope (fe80::1%eth0) is no part of what a packet has.
      ...addresses.filter(isIPv6).map((address) => `add element ${table} servers6 { ${address.replace(/%.*$/, '')} }`),
    ]);
  }

  #commands(): string[] {
    const { address, address6 } = this.#context.listeners;
    const rule = (words: string): string => `add rule ${table} names ${words}`;
    return [
      `add table ${table} { flags owner; }`,
      `add set ${table} servers { type ipv4_addr; }`,
      `add set ${table} servers6 { type ipv6_addr; }`,
      // Before all that translates what programs of this machine send.
      `add chain ${table} names { type nat hook output priority -110; policy accept; }`,
      rule(`meta skgid ${kpeeringGid} return`),
      ...['udp', 'tcp'].flatMap((protocol) => [
        rule(`ip daddr @servers ${protocol} dport 53 dnat ip to ${address.address}:${address.port}`),
        ...(address6 === undefined
          ? []
          : [rule(`ip6 daddr @servers6 ${protocol} dport 53 dnat ip6 to [${address6.address}]:${address6.port}`)]),
      ]),
    ];
  }

  #read(): OwnNames {
    return ownNames(readText(resolvConfPath) ?? '', [], []);
  }

  async #check(): Promise<void> {
    if (this.#watch === undefined) return;
    const own = this.#read();
    const moved = !sameOwn(own, this.#own);
    if (!moved && this.#rules?.running === true) return;
    this.#own = own;
    await this.#set();
    if (moved) this.#context.onOwn(own);
  }
}
