import type { ClusterNetworks } from '../../cluster/networks.ts';
import { formatCidr } from '../../platform/cidr.ts';
import { messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Route } from '../../platform/routes.ts';
import type { CapturedNetworks } from '../../simulator/machine/index.ts';
import { SyntheticAddresses } from '../../simulator/synthetic-addresses.ts';
import { planCapture, type CapturePlan, type CaptureQuestion } from './capture-plan.ts';

/** What a plan is made from, as it is now. */
export interface CaptureSources {
  readonly networks: ClusterNetworks;
  /** This machine's, without those that kpctl has made. */
  readonly routes: () => readonly Route[];
  readonly also: readonly string[];
  readonly never: readonly string[];
  readonly apiServer: () => readonly string[];
  readonly nameServers: () => readonly string[];
  /** Whether a flow that is open uses this synthetic address. */
  readonly isInUse: (address: string) => boolean;
}

export interface CaptureUpkeepOptions {
  readonly sources: CaptureSources;
  /** Makes the machine follow; what it rejects with is logged, and tried again with the next change. */
  readonly apply: (plan: CapturePlan) => Promise<void>;
  /** Each warning once, for as long as it holds. */
  readonly onWarning: (warning: string) => void;
  readonly log: Logger;
}

/** Which addresses of this machine lead to the cluster: plans it, and plans again when the cluster's networks, the machine's routes or its name servers change. */
export class CaptureUpkeep implements Closeable {
  readonly #options: CaptureUpkeepOptions;
  #plan: CapturePlan;
  #synthetic: SyntheticAddresses;
  #applied: string;
  #warnings: ReadonlySet<string> = new Set();
  #applying: Promise<void> | undefined;
  #dirty = false;
  #closed = false;
  readonly #unsubscribe: () => void;

  constructor(options: CaptureUpkeepOptions) {
    this.#options = options;
    this.#plan = planOf(options.sources);
    this.#synthetic = this.#addressesOf(this.#plan);
    this.#applied = textOf(this.#plan);
    this.#tellWarnings();
    this.#unsubscribe = options.sources.networks.onChange(() => void this.changed());
  }

  /** The plan now. What the machine does follows a moment later. */
  get plan(): CapturePlan {
    return this.#plan;
  }

  get networks(): CapturedNetworks {
    return { capture: this.#plan.capture, never: this.#plan.never };
  }

  /** What programs are told in the place of a cluster's address. */
  toLocal(address: string): string {
    return this.#synthetic.toLocal(address);
  }

  /** Whether what goes to this address goes to the cluster. */
  has(address: string): boolean {
    return this.#plan.isCluster(address) || this.#synthetic.isSynthetic(address);
  }

  /** The cluster's address behind a synthetic one; undefined for any other. */
  behind(address: string): string | undefined {
    return this.#synthetic.toCluster(address);
  }

  /** What is dialled for a destination: itself, or what its synthetic address stands for; undefined where that is not known (any more). */
  toCluster(address: string): string | undefined {
    return this.#synthetic.isSynthetic(address) ? this.#synthetic.toCluster(address) : address;
  }

  /** Plans again; resolves when the machine follows what was known at the call. Never rejects. */
  async changed(): Promise<void> {
    this.#dirty = true;
    while (this.#dirty || this.#applying !== undefined) {
      if (this.#applying === undefined) this.#applying = this.#apply().finally(() => (this.#applying = undefined));
      await this.#applying;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe();
    await this.#applying;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #apply(): Promise<void> {
    this.#dirty = false;
    if (this.#closed) return;
    try {
      const plan = planOf(this.#options.sources, { ranges: this.#plan.ranges, handedOut: this.#synthetic.size > 0 });
      const text = textOf(plan);
      const moved = rangesOf(plan) !== rangesOf(this.#plan);
      this.#plan = plan;
      if (moved) this.#synthetic = this.#addressesOf(plan);
      this.#tellWarnings();
      if (text === this.#applied) return;
      await this.#options.apply(plan);
      this.#applied = text;
    } catch (error) {
      this.#options.log.warn({ err: error }, `what is captured could not be changed: ${messageOf(error)}`);
    }
  }

  #addressesOf({ ranges }: CapturePlan): SyntheticAddresses {
    const isSwitched = (address: string): boolean => this.#plan.isSwitched(address);
    return new SyntheticAddresses({ ranges, isSwitched, isInUse: this.#options.sources.isInUse });
  }

  #tellWarnings(): void {
    const warnings = new Set(this.#plan.warnings);
    for (const warning of warnings) if (!this.#warnings.has(warning)) this.#options.onWarning(warning);
    this.#warnings = warnings;
  }
}

/** The ranges for synthetic addresses stay those of the plan before, if they can. */
function planOf(
  { networks, routes, also, never, apiServer, nameServers }: CaptureSources,
  before: Pick<CaptureQuestion, 'ranges' | 'handedOut'> = {},
): CapturePlan {
  return planCapture({ networks, routes: routes(), also, never, apiServer: apiServer(), nameServers: nameServers(), ...before });
}

function textOf({ capture, never }: CapturePlan): string {
  return `${capture.join(' ')} never ${never.join(' ')}`;
}

function rangesOf({ ranges }: CapturePlan): string {
  return `${formatCidr(ranges.ipv4)} ${formatCidr(ranges.ipv6)}`;
}
