import { decodeAnswers, TYPE, type Query } from '../../simulator/dns/message.ts';
import { canonicalAddress, type RecordSource } from '../../simulator/dns/records.ts';
import type { Resolve } from '../../simulator/dns/index.ts';
import type { AbortOptions } from '../../platform/abort.ts';

/** What a destination is called. */
export interface DestinationNames {
  /** Of a Service `db.shop`, of a pod `web-0.shop`: as the cluster's records have it now. */
  readonly name?: string;
  /** The name that was looked up on this machine and answered with the address. */
  readonly asked?: string;
}

/** Tells a destination's names. `address` is the cluster's, `local` what the program connected to. */
export type NamesOf = (destination: { readonly address: string; readonly local: string }) => DestinationNames;

/** Names that are remembered; the oldest go first. */
const MOST_NAMES = 4096;

/** Remembers which name was asked for when an address was given as an answer. */
export class AskedNames {
  readonly #names = new Map<string, string>();

  /** The name that was last answered with that address. */
  at(address: string): string | undefined {
    return this.#names.get(canonicalAddress(address));
  }

  /** The same resolver; what it answers is remembered. Answers that were given a moment ago are not looked at again. */
  listenTo(resolve: Resolve): Resolve {
    const heard = (query: Query, answer: Buffer): Buffer => {
      if (query.question.type === TYPE.A || query.question.type === TYPE.AAAA) this.#learn(query.question.name, answer);
      return answer;
    };
    const listening = (query: Query, options?: AbortOptions): Buffer | Promise<Buffer> => {
      const answer = resolve(query, options);
      return Buffer.isBuffer(answer) ? heard(query, answer) : answer.then((later) => heard(query, later));
    };
    return resolve.prepared === undefined ? listening : Object.assign(listening, { prepared: resolve.prepared });
  }

  #learn(name: string, answer: Buffer): void {
    let addresses: string[];
    try {
      addresses = decodeAnswers(answer).answers.flatMap((record) => ('address' in record ? [canonicalAddress(record.address)] : []));
    } catch {
      return; // somebody else's answer, passed on as it came
    }
    for (const address of addresses) {
      this.#names.delete(address);
      this.#names.set(address, name);
    }
    for (const oldest of this.#names.keys()) {
      if (this.#names.size <= MOST_NAMES) break;
      this.#names.delete(oldest);
    }
  }
}

/** Names from the resolver's records, and from what was asked. */
export function namesFrom(records: Pick<RecordSource, 'servicesAt' | 'slicesAt'>, asked: AskedNames): NamesOf {
  return ({ address, local }) => {
    const name = nameIn(records, canonicalAddress(address));
    const question = asked.at(local);
    return { ...(name !== undefined && { name }), ...(question !== undefined && { asked: question }) };
  };
}

function nameIn(records: Pick<RecordSource, 'servicesAt' | 'slicesAt'>, address: string): string | undefined {
  for (const { name, namespace } of records.servicesAt(address)) return `${name}.${namespace}`;
  for (const { endpoints, namespace, service } of records.slicesAt(address)) {
    for (const { addresses, pod, hostname } of endpoints) {
      if (!addresses.some((one) => canonicalAddress(one) === address)) continue;
      return pod === undefined ? `${hostname === undefined ? '' : `${hostname}.`}${service}.${namespace}` : `${pod}.${namespace}`;
    }
  }
  return undefined;
}
