import type { LiveRule, LiveRules } from './live-rules.ts';
import type { SwitchedInterceptor } from './types.ts';

/** Rules that come and go, as those who need one use them. */
export type Rules = Pick<LiveRules, 'add' | 'remove'>;

/** A listener and the rule that takes packets to it: the rule is there while it is open, and until what began then has come in. */
export class RuledInterceptor implements SwitchedInterceptor {
  readonly description: string;
  readonly #listener: SwitchedInterceptor;
  readonly #rules: Rules;
  readonly #rule: LiveRule;
  #wanted = false;

  constructor(listener: SwitchedInterceptor, rules: Rules, rule: LiveRule) {
    this.description = listener.description;
    this.#listener = listener;
    this.#rules = rules;
    this.#rule = rule;
  }

  /** Rejects with the system's error for the listener, or with nft's for the rule: neither is there then. */
  async open(): Promise<void> {
    this.#wanted = true;
    await this.#listener.open();
    try {
      await this.#rules.add(this.#rule);
    } catch (error) {
      this.#wanted = false;
      await this.#listener.close();
      throw error;
    }
  }

  async release(): Promise<void> {
    this.#wanted = false;
    await this.#listener.release();
    if (!this.#wanted) await this.#rules.remove(this.#rule);
  }

  async close(): Promise<void> {
    this.#wanted = false;
    await this.#listener.close();
    if (!this.#wanted) await this.#rules.remove(this.#rule);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The pod's own calls of an address. Where they are redirected to, somebody listens always; flows that are open go on. */
export class RedirectedCalls implements SwitchedInterceptor {
  readonly description: string;
  readonly #rules: Rules;
  readonly #rule: LiveRule;

  constructor(rules: Rules, { address, port }: { readonly address: string; readonly port: number }) {
    this.#rules = rules;
    this.#rule = { kind: 'outbound', address, port };
    this.description = `REDIRECT of calls to ${address} port ${port}`;
  }

  async open(): Promise<void> {
    await this.#rules.add(this.#rule);
  }

  async release(): Promise<void> {
    await this.#rules.remove(this.#rule);
  }

  async close(): Promise<void> {
    await this.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
