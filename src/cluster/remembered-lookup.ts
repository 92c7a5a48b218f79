import { lookup as lookUpBySystem, type LookupAddress, type LookupOptions } from 'node:dns';
import type { LookupFunction } from 'node:net';

/** An answer that takes longer is not waited for, if there was one before. */
const PATIENCE_MILLISECONDS = 1_000;

/** As `dns.lookup` with `all`, which gives no addresses with an error; tests give their own. */
export type LookUpAll = (
  host: string,
  options: LookupOptions & { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses?: LookupAddress[]) => void,
) => void;

/**
 * The system's look-up of a name, which falls back to the addresses of the last time when it fails or takes more than a second: under `kpctl up` the system's
 * names come through the very tunnel that a connection is needed to repair.
 */
export function rememberedLookup(lookUp: LookUpAll = lookUpBySystem, patienceMilliseconds = PATIENCE_MILLISECONDS): LookupFunction {
  const remembered = new Map<string, LookupAddress[]>();
  return (host, options, callback) => {
    const known = remembered.get(host);
    let answered = false;
    const answer = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[] = []): void => {
      clearTimeout(timer);
      if (answered) return;
      answered = true;
      const [first] = addresses;
      if (error !== null || first === undefined) callback(error, '');
      else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    };
    const timer = known === undefined ? undefined : setTimeout(() => answer(null, known), patienceMilliseconds);
    lookUp(host, { ...options, all: true }, (error, addresses) => {
      if (error === null && addresses !== undefined && addresses.length > 0) remembered.set(host, addresses);
      if (error !== null && known !== undefined) answer(null, known);
      else answer(error, addresses);
    });
  };
}
