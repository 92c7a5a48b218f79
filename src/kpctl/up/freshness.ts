import { addressBits, cidrOf, containsCidr, formatCidr, parseAddress } from '../../platform/cidr.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Route, RouteWatch } from '../../platform/routes.ts';

export interface FreshnessOptions {
  readonly routes: Pick<RouteWatch, 'routes' | 'onChange'>;
  /** Where the tunnel goes: a change of another route is nothing to it. */
  readonly apiServer: () => readonly string[];
  /** The way to the cluster may be another one from now on, or this machine has slept. */
  readonly onChange: (why: 'slept' | 'route') => void;
  /** A clock in milliseconds since 1970, which goes on while the machine sleeps. */
  readonly now?: () => number;
  readonly everyMilliseconds?: number;
}

/** A timer that is later than this was stopped with its process or its machine. */
const SLEPT_MILLISECONDS = 3_000;

/** Notices what makes open connections stale without a word from the kernel: a machine that slept, and another way to the API server. */
export class Freshness implements Closeable {
  readonly #options: FreshnessOptions;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  readonly #unsubscribe: () => void;
  #lastTick: number;
  #way: string;

  constructor(options: FreshnessOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#lastTick = this.#now();
    this.#way = wayTo(options.apiServer(), options.routes.routes);
    const every = options.everyMilliseconds ?? 500;
    this.#timer = setInterval(() => this.#tick(every), every).unref();
    this.#unsubscribe = options.routes.onChange(() => this.#routesChanged());
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#unsubscribe();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #tick(every: number): void {
    const now = this.#now();
    const late = now - this.#lastTick - every;
    this.#lastTick = now;
    if (late > SLEPT_MILLISECONDS) this.#options.onChange('slept');
  }

  #routesChanged(): void {
    const way = wayTo(this.#options.apiServer(), this.#options.routes.routes);
    if (way === this.#way) return;
    this.#way = way;
    this.#options.onChange('route');
  }
}

/**
 * The routes that have one of the addresses, and the machine's own addresses on their devices: what a connection's source and path come from. A container that
 * starts, or a VPN to elsewhere, changes none of it.
 */
export function wayTo(addresses: readonly string[], routes: readonly Route[]): string {
  const wanted = addresses.flatMap((text) => {
    const address = parseAddress(text);
    return address === undefined ? [] : [cidrOf(address.family, address.value, addressBits(address.family))];
  });
  const leading = routes.filter(
    ({ kind, destination }) => kind !== 'local' && wanted.some((address) => containsCidr(destination, address)),
  );
  const devices = new Set(leading.map(({ device }) => device));
  const own = routes.filter(({ kind, device }) => kind === 'local' && devices.has(device));
  return [...leading, ...own]
    .map(({ destination, kind, table, device, gateway }) => [formatCidr(destination), kind, table, device ?? '', gateway ?? ''].join(' '))
    .toSorted()
    .join('\n');
}
